//! The lines of a log that say why the server could not start or died.

const MOST: usize = 1500;

/// Picks errors, crashes and failed assertions, the newest last, from the newest run of the server; the end of the log when
/// there is none.
pub fn last_words(log: &str) -> String {
    let from = log.rfind("[Note] Starting MariaDB").map_or(0, |at| log[..at].rfind('\n').map_or(0, |line| line + 1));
    let serious = |line: &&str| {
        ["[ERROR]", "got signal", "Assertion failure", "Fatal error", "error while loading shared libraries", "Out of memory"]
            .iter()
            .any(|mark| line.contains(mark))
            || line.contains("mariadbd: ") && !line.contains("[Note]")
    };
    let mut picked: Vec<&str> = log[from..].lines().filter(serious).collect();
    if picked.is_empty() {
        picked = log.lines().filter(serious).collect();
    }
    if picked.is_empty() {
        picked = log.lines().filter(|line| !line.trim().is_empty()).collect();
        picked.drain(..picked.len().saturating_sub(5));
    }
    let mut words = String::new();
    for line in picked.into_iter().rev() {
        // It always says so at the end, and never why.
        if line.ends_with("[ERROR] Aborting") {
            continue;
        }
        if words.len() + line.len() + 1 > MOST {
            break;
        }
        words = if words.is_empty() { String::from(line) } else { format!("{line}\n{words}") };
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_the_errors_of_the_newest_run() {
        let log = "a [Note] Starting MariaDB 10.11\na [ERROR] old\nb 0 [Note] Starting MariaDB 10.11\n\
                   b 0 [Note] InnoDB: fine\nb 0 [ERROR] Fatal error: Illegal or unknown default time zone 'x'\nb 0 [ERROR] Aborting\n";
        assert_eq!(last_words(log), "b 0 [ERROR] Fatal error: Illegal or unknown default time zone 'x'");
    }

    #[test]
    fn keeps_what_comes_before_the_server_says_anything() {
        let log = "a [Note] Starting MariaDB 10.11\n/p/mariadbd: error while loading shared libraries: libaio.so.1: cannot open\n";
        assert!(last_words(log).contains("libaio.so.1"));
        assert_eq!(last_words("only\n\nwords\n"), "only\nwords");
    }

    #[test]
    fn stays_short_and_whole_lines() {
        let log: String = (0..100).map(|n| format!("n [ERROR] trouble number {n}\n")).collect();
        let words = last_words(&log);
        assert!(words.len() <= MOST && words.starts_with("n [ERROR]") && words.ends_with("number 99"));
    }
}

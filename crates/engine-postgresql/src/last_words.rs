//! The lines of a log that say why the server could not start or died.

const MOST: usize = 1500;

/// Picks errors (`FATAL`, `PANIC`, a crash of a process) with the lines that explain them, the newest last, from the newest
/// run of the server; the end of the log when there is none.
pub fn last_words(log: &str) -> String {
    let from = log.rfind("starting PostgreSQL").map_or(0, |at| log[..at].rfind('\n').map_or(0, |line| line + 1));
    let mut picked = pick(&log[from..]);
    if picked.is_empty() {
        picked = pick(log);
    }
    if picked.is_empty() {
        picked = log.lines().filter(|line| !line.trim().is_empty()).collect();
        picked.drain(..picked.len().saturating_sub(5));
    }
    let mut words = String::new();
    for line in picked.into_iter().rev() {
        if words.len() + line.len() + 1 > MOST {
            break;
        }
        words = if words.is_empty() { String::from(line) } else { format!("{line}\n{words}") };
    }
    words
}

/// Complaints of the server itself, whatever their level.
const SERIOUS: &[&str] = &[
    "FATAL:  ",
    "PANIC:  ",
    "LOG:  invalid ",
    "LOG:  unrecognized ",
    "LOG:  syntax error",
    "LOG:  parameter ",
    "LOG:  could not ",
    "ERROR:  could not ",
    "was terminated by signal",
    "exited with exit code",
    "error while loading shared libraries",
];
/// What a client did, or what every stop looks like, says nothing about the server.
const ORDINARY: &[&str] = &[
    "authentication failed",
    "terminating connection",
    "terminating background worker",
    "background worker",
    "the database system is",
    "remaining connection slots",
    "too many clients",
    "no pg_hba.conf entry",
    "permission denied for database",
    "LOG:  could not receive data from client",
    "LOG:  could not send data to client",
    "FATAL:  connection to client lost",
    "FATAL:  role \"",
    "FATAL:  database \"",
];

fn pick(log: &str) -> Vec<&str> {
    let has = |line: &str, marks: &[&str]| marks.iter().any(|mark| line.contains(mark));
    let mut picked = Vec::new();
    let mut explaining = false;
    for line in log.lines() {
        let serious = has(line, SERIOUS) && !has(line, ORDINARY) || line.starts_with("postgres: ");
        explaining = serious || explaining && has(line, &["DETAIL:  ", "HINT:  ", "CONTEXT:  "]);
        if explaining {
            picked.push(line);
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_what_is_serious_and_what_explains_it() {
        let log = "x LOG:  starting PostgreSQL 15.20\n\
                   x FATAL:  password authentication failed for user \"o\"\n\
                   x LOG:  checkpoint\n\
                   x FATAL:  data directory \"/v\" has invalid permissions\n\
                   x DETAIL:  Permissions should be u=rwx (0700) or u=rwx,g=rx (0750).\n\
                   x LOG:  bye\n";
        assert_eq!(
            last_words(log),
            "x FATAL:  data directory \"/v\" has invalid permissions\nx DETAIL:  Permissions should be u=rwx (0700) or u=rwx,g=rx (0750)."
        );
    }

    #[test]
    fn prefers_the_newest_run_and_falls_back_to_the_end() {
        let log = "a PANIC:  old trouble\nb LOG:  starting PostgreSQL 15.20\nb PANIC:  new trouble\n";
        assert_eq!(last_words(log), "b PANIC:  new trouble");
        assert_eq!(last_words("only\n\nwords\n"), "only\nwords");
        assert_eq!(last_words(""), "");
    }

    #[test]
    fn stays_short_and_whole_lines() {
        let log: String = (0..100).map(|n| format!("n FATAL:  trouble number {n}\n")).collect();
        let words = last_words(&log);
        assert!(words.len() <= MOST && words.starts_with("n FATAL") && words.ends_with("number 99"));
    }
}

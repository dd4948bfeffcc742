//! Whether a cluster's data is protected, and why or why not, in a sentence for its users.

use crate::cluster::BackupWish;

/// Nothing can protect data yet, so this says what was asked for and that it does not happen (decisions 20).
pub fn why_unprotected(wish: Option<&BackupWish>) -> String {
    let Some(wish) = wish else {
        return "No backups were asked for, and this version cannot make any.".into();
    };
    let mut asked = Vec::new();
    asked.extend(wish.starting_time_hour.as_ref().map(|hour| format!("daily at {hour} o'clock")));
    asked.extend(wish.retention_period_day.as_ref().map(|days| format!("kept for {days} days")));
    asked.extend(wish.archive_frequency_minute.as_ref().map(|minutes| format!("archived every {minutes} minutes")));
    let asked = if asked.is_empty() { String::new() } else { format!(" ({})", asked.join(", ")) };
    format!("Backups were asked for{asked}, but this version cannot make any.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_asked_for_and_that_it_does_not_happen() {
        assert!(why_unprotected(None).starts_with("No backups were asked for"));
        let wish = BackupWish {
            archive_frequency_minute: Some("5".into()),
            retention_period_day: Some("7".into()),
            starting_time_hour: Some("2".into()),
        };
        let asked =
            "Backups were asked for (daily at 2 o'clock, kept for 7 days, archived every 5 minutes), but this version cannot make any.";
        assert_eq!(why_unprotected(Some(&wish)), asked);
    }
}

//! `make bench-failover`: how long writing pauses when an instance of two is killed or hangs, and during a switchover.

mod client;
mod load;
mod ours;
mod patroni;
mod peer;
mod strikes;

use super::engines::Engine;
use super::installation::Installation;
use super::report::{Report, largest, middle, percentile};
use anyhow::Result;
use client::Written;
use patroni::Configuration;
use std::path::Path;
use std::process::ExitCode;

/// What happens to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Event {
    PrimaryKilled,
    PrimaryFrozen,
    PrimaryFrozenForTwoSeconds,
    StandbyKilled,
    StandbyFrozen,
    Switchover,
}

impl Event {
    const ALL: [Event; 6] = [
        Event::PrimaryKilled,
        Event::PrimaryFrozen,
        Event::PrimaryFrozenForTwoSeconds,
        Event::StandbyKilled,
        Event::StandbyFrozen,
        Event::Switchover,
    ];

    fn name(self) -> &'static str {
        match self {
            Event::PrimaryKilled => "primary killed with -9",
            Event::PrimaryFrozen => "primary frozen for good",
            Event::PrimaryFrozenForTwoSeconds => "primary frozen for 2 s, stays the primary",
            Event::StandbyKilled => "standby killed with -9",
            Event::StandbyFrozen => "standby frozen for good",
            Event::Switchover => "switchover under load",
        }
    }

    fn rounds(self) -> usize {
        match self {
            Event::PrimaryKilled => 30,
            Event::PrimaryFrozen | Event::StandbyKilled => 10,
            Event::PrimaryFrozenForTwoSeconds => 3,
            Event::StandbyFrozen => 5,
            Event::Switchover => 50,
        }
    }
}

/// Whose database it happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Ours(Engine),
    Patroni(Configuration),
}

impl Subject {
    fn name(self) -> String {
        match self {
            Subject::Ours(engine) => engine.name().to_owned(),
            Subject::Patroni(configuration) => format!("patroni, {}", configuration.name()),
        }
    }
}

/// Who keeps the databases that are struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Maker {
    /// This program, PostgreSQL.
    #[value(name = "postgresql")]
    OursPostgreSql,
    /// This program, MariaDB.
    #[value(name = "mariadb")]
    OursMariaDb,
    /// The peer.
    Patroni,
}

/// What is measured; everything where nothing is named.
pub struct Choice {
    /// Rounds at most of every event.
    pub rounds: usize,
    /// Which events.
    pub events: Vec<Event>,
    /// Whose databases.
    pub makers: Vec<Maker>,
}

impl Choice {
    fn rounds(&self, event: Event, most: usize) -> usize {
        if self.events.is_empty() || self.events.contains(&event) { self.rounds.min(most) } else { 0 }
    }

    fn has(&self, maker: Maker) -> bool {
        self.makers.is_empty() || self.makers.contains(&maker)
    }
}

/// What was seen of one event in all its rounds.
struct Seen {
    subject: Subject,
    event: Event,
    /// Seconds without an acknowledged write.
    pauses: Vec<f64>,
    written: Written,
    /// How often the other instance was the primary afterwards.
    moved: usize,
    /// Clients of pgbench that were cut off, where it was the load.
    cut_off: Option<usize>,
}

/// Measures and prints; the figures go to `target/bench/failover.json`.
pub fn run(choice: &Choice, program: &Path, under: &Path) -> Result<ExitCode> {
    let scratch = under.join(format!("moorage-bench-failover-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let mut seen = Vec::new();
    let measured = measure(choice, program, under, &scratch, &mut seen);
    drop(std::fs::remove_dir_all(&scratch));
    // What was seen before something failed is worth its table.
    let printed = print(&seen);
    measured?;
    printed
}

fn measure(choice: &Choice, program: &Path, under: &Path, scratch: &Path, seen: &mut Vec<Seen>) -> Result<()> {
    let mut keep = |one: Seen| {
        let pauses: Vec<_> = one.pauses.iter().map(|pause| format!("{pause:.2}")).collect();
        eprintln!("{}: {}: {} s; {} rows missing", one.subject.name(), one.event.name(), pauses.join(" "), one.written.missing);
        seen.push(one);
    };
    let mut installation = Installation::start(program, under, 0)?;
    // Without a cluster of ours, the peer has what the smallest of ours has.
    let mut shared_buffers = "256MB".to_owned();
    if choice.has(Maker::OursPostgreSql) {
        shared_buffers = ours::measure(&mut installation, Engine::PostgreSql, choice, scratch, &mut keep)?;
    }
    if choice.has(Maker::Patroni) {
        for configuration in Configuration::ALL {
            peer::measure(configuration, &shared_buffers, choice, scratch, &mut keep)?;
        }
    }
    if choice.has(Maker::OursMariaDb) {
        ours::measure(&mut installation, Engine::MariaDb, choice, scratch, &mut keep)?;
    }
    Ok(())
}

fn print(seen: &[Seen]) -> Result<ExitCode> {
    let heading = "Seconds without an acknowledged write, one client that writes a row per transaction and tries again every 10 ms";
    let mut report = Report::new("failover", heading);
    for engine in Engine::ALL {
        of_subject(&mut report, seen, Subject::Ours(engine));
    }
    for configuration in Configuration::ALL {
        of_subject(&mut report, seen, Subject::Patroni(configuration));
    }
    let median = |subject, event| find(seen, subject, event).map(|one| middle(&one.pauses));
    if seen.iter().any(|one| one.subject == Subject::Patroni(Configuration::Tuned)) {
        report.section("patroni, tuned / postgresql, medians");
    }
    for event in [Event::PrimaryKilled, Event::Switchover] {
        let tuned = median(Subject::Patroni(Configuration::Tuned), event);
        let Some((ours, tuned)) = median(Subject::Ours(Engine::PostgreSql), event).zip(tuned) else { continue };
        if event == Event::PrimaryKilled {
            report.at_least(event.name(), tuned / ours, 7.0, "");
        } else {
            report.row(event.name(), &format!("{:.2}", tuned / ours));
        }
    }
    report.finish()
}

fn find(seen: &[Seen], subject: Subject, event: Event) -> Option<&Seen> {
    seen.iter().find(|one| one.subject == subject && one.event == event)
}

fn of_subject(report: &mut Report, seen: &[Seen], subject: Subject) {
    let of_it: Vec<_> = seen.iter().filter(|one| one.subject == subject).collect();
    if of_it.is_empty() {
        return;
    }
    report.section(&subject.name());
    for one in &of_it {
        row(report, one);
        report.keep(&format!("{}, {}, s", subject.name(), one.event.name()), &one.pauses);
    }
    let acknowledged: usize = of_it.iter().map(|one| one.written.acknowledged).sum();
    let missing: usize = of_it.iter().map(|one| one.written.missing).sum();
    let what = format!("missing of {acknowledged} acknowledged rows");
    match subject {
        Subject::Ours(_) => report.at_most(&what, missing as f64, 0.0, "rows"),
        Subject::Patroni(_) => report.row(&what, &format!("{missing} rows")),
    }
}

fn row(report: &mut Report, one: &Seen) {
    let (name, times) = (one.event.name(), one.pauses.len());
    let (median, longest) = (middle(&one.pauses), largest(&one.pauses));
    let (of_median, of_longest) = (format!("{name}, median of {times}"), format!("{name}, longest of {times}"));
    let plain = |report: &mut Report, what: &str, value: f64| report.row(what, &format!("{value:.2} s"));
    match (one.subject, one.event) {
        (Subject::Ours(_), Event::PrimaryKilled) => {
            report.at_most(&of_median, median, 0.30, "s");
            report.at_most(&format!("{name}, 99th percentile of {times}"), percentile(&one.pauses, 99), 0.80, "s");
        }
        (Subject::Ours(_), Event::PrimaryFrozen) => {
            report.at_most(&of_median, median, 5.0, "s");
            plain(report, &of_longest, longest);
        }
        (Subject::Ours(_), Event::StandbyKilled) => {
            plain(report, &of_median, median);
            report.at_most(&of_longest, longest, 1.0, "s");
        }
        (Subject::Ours(_), Event::StandbyFrozen) => {
            plain(report, &of_median, median);
            report.at_most(&of_longest, longest, 6.0, "s");
        }
        (Subject::Ours(_), Event::Switchover) => {
            report.at_most(&of_median, median, 0.15, "s");
            plain(report, &of_longest, longest);
        }
        _ => {
            plain(report, &of_median, median);
            plain(report, &of_longest, longest);
        }
    }
    if matches!(one.subject, Subject::Patroni(_)) && one.event == Event::PrimaryKilled {
        report.row("the standby took over, else the primary was started again", &one.moved.to_string());
    }
    if one.event == Event::Switchover {
        failed_in_switchovers(report, one);
    }
}

fn failed_in_switchovers(report: &mut Report, one: &Seen) {
    let within = "connections lost within a transaction, of lasting ones";
    let (cut_within, failed) = (one.written.cut_within as f64, one.written.failed as f64);
    match (one.subject, one.cut_off) {
        (Subject::Ours(_), Some(cut_off)) => {
            let of = load::CLIENTS as usize * one.pauses.len();
            report.at_most(&format!("clients of pgbench, a connection per transaction, cut off, of {of}"), cut_off as f64, 0.0, "");
            report.at_most(within, cut_within, 0.0, "");
        }
        (Subject::Ours(_), None) => {
            report.row("load of our own: sysbench does not outlive a lost connection", "");
            report.row("clients with a lasting connection, with one for each", &format!("{}, {}", load::LASTING, load::PER_TRANSACTION));
            report.at_most("transactions failed, of clients with a connection for each", failed, 0.0, "");
            report.at_most(within, cut_within, 0.0, "");
        }
        (_, cut_off) => {
            let cut_off = cut_off.unwrap_or_default();
            report.row("clients of pgbench, a connection per transaction, cut off", &cut_off.to_string());
        }
    }
}

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
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
            Event::Switchover => 20,
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
pub fn run(rounds: usize, program: &Path, under: &Path) -> Result<ExitCode> {
    let scratch = under.join(format!("moorage-bench-failover-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let mut seen = Vec::new();
    let measured = measure(rounds, program, under, &scratch, &mut seen);
    drop(std::fs::remove_dir_all(&scratch));
    // What was seen before something failed is worth its table.
    let printed = print(&seen);
    measured?;
    printed
}

fn measure(rounds: usize, program: &Path, under: &Path, scratch: &Path, seen: &mut Vec<Seen>) -> Result<()> {
    let mut keep = |one: Seen| {
        let (middle, missing) = (middle(&one.pauses), one.written.missing);
        eprintln!(
            "{}: {}: {} rounds, median {middle:.2} s, {missing} rows missing",
            one.subject.name(),
            one.event.name(),
            one.pauses.len()
        );
        seen.push(one);
    };
    let mut installation = Installation::start(program, under, 0)?;
    let shared_buffers = ours::measure(&mut installation, Engine::PostgreSql, rounds, scratch, &mut keep)?;
    for configuration in Configuration::ALL {
        peer::measure(configuration, &shared_buffers, rounds, scratch, &mut keep)?;
    }
    ours::measure(&mut installation, Engine::MariaDb, rounds, scratch, &mut keep)?;
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
    report.section("patroni, tuned / postgresql, medians");
    let median = |subject, event| find(seen, subject, event).map(|one| middle(&one.pauses));
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
        match one.cut_off {
            Some(cut_off) => {
                report.row(&format!("clients of pgbench cut off, of {}", load::CLIENTS as usize * times), &cut_off.to_string())
            }
            None => {
                report.row("load: connections of the same client (sysbench does not outlive a lost one)", &load::CONNECTIONS.to_string());
            }
        }
    }
}

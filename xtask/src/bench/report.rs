//! The table every benchmark prints, and the file it leaves.

use anyhow::Result;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

/// Rows of a table, and the figures they were made from.
pub struct Report {
    name: &'static str,
    text: String,
    figures: serde_json::Map<String, Value>,
    missed: usize,
}

impl Report {
    /// An empty one under a heading.
    pub fn new(name: &'static str, heading: &str) -> Self {
        Self { name, text: format!("{heading}\n"), figures: serde_json::Map::new(), missed: 0 }
    }

    /// A heading inside the table.
    pub fn section(&mut self, heading: &str) {
        self.text.push_str(&format!("\n{heading}\n"));
    }

    /// A row that says something.
    pub fn row(&mut self, what: &str, value: &str) {
        self.text.push_str(&format!("  {what:<64} {value:>14}\n"));
    }

    /// A row that has to be kept: at most the limit.
    pub fn at_most(&mut self, what: &str, value: f64, limit: f64, unit: &str) {
        let verdict = self.verdict(value <= limit);
        self.row(what, &format!("{} {unit} (at most {}) {verdict}", number(value), number(limit)));
    }

    /// A row that has to be kept: at least the limit.
    pub fn at_least(&mut self, what: &str, value: f64, limit: f64, unit: &str) {
        let verdict = self.verdict(value >= limit);
        self.row(what, &format!("{} {unit} (at least {}) {verdict}", number(value), number(limit)));
    }

    fn verdict(&mut self, met: bool) -> &'static str {
        self.missed += usize::from(!met);
        if met { "met" } else { "MISSED" }
    }

    /// Keeps every figure of one kind for the file.
    pub fn keep(&mut self, what: &str, values: &[f64]) {
        self.figures.insert(what.to_owned(), json!({"median": middle(values), "all": values}));
    }

    /// Prints the table and writes `target/bench/NAME.json`; a failure when a limit was missed.
    pub fn finish(self) -> Result<ExitCode> {
        drop(writeln!(std::io::stdout().lock(), "{}", self.text));
        std::fs::create_dir_all("target/bench")?;
        let file = json!({"figures": self.figures, "limits_missed": self.missed});
        std::fs::write(format!("target/bench/{}.json", self.name), serde_json::to_string_pretty(&file)?)?;
        Ok(if self.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The middle of some figures.
pub fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The largest of some figures.
pub fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::max)
}

/// What so many of a hundred figures are at most; the largest when there are fewer than a hundred of them.
pub fn percentile(values: &[f64], of_hundred: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * of_hundred).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The middle of the ratios of figures that were taken side by side.
pub fn middle_ratio(ours: &[f64], peer: &[f64]) -> f64 {
    middle(&ours.iter().zip(peer).map(|(ours, peer)| ours / peer).collect::<Vec<_>>())
}

fn number(value: f64) -> String {
    match value {
        value if value.abs() >= 1000.0 => format!("{value:.0}"),
        value if value.abs() >= 100.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_few_figures_the_99th_percentile_is_the_largest() {
        let thirty: Vec<f64> = (1..=30).map(f64::from).collect();
        assert_eq!((percentile(&thirty, 99), percentile(&thirty, 50), largest(&thirty), middle(&thirty)), (30.0, 15.0, 30.0, 16.0));
        let many: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&many, 99), 198.0);
        assert!(percentile(&[], 99).is_nan() && largest(&[]).is_nan());
    }
}

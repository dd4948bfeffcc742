//! Tables for people.

use comfy_table::{Cell, ContentArrangement, Table, presets};

/// Letters of a cell in a row, at most.
const WIDEST: usize = 80;

/// Rows under headings, without lines between them.
pub fn rows(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = plain();
    table.set_header(headings.iter().map(|heading| Cell::new(heading.to_uppercase())));
    for row in rows {
        let last = row.len().saturating_sub(1);
        // Nothing stands behind the last one.
        let cell = |(place, cell)| if place == last { shown(cell) } else { short(shown(cell)) };
        table.add_row(row.into_iter().enumerate().map(cell));
    }
    finished(&table)
}

/// One thing, property by property; those without a value are left out.
pub fn properties(properties: &[(&str, Option<String>)]) -> String {
    let mut table = plain();
    for (name, value) in properties {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            table.add_row(vec![(*name).to_owned(), shown(value.clone())]);
        }
    }
    finished(&table)
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// Text from a server must not move the cursor or colour the terminal.
fn shown(text: String) -> String {
    let text = if text.is_empty() { "-".to_owned() } else { text };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// One long value must not push what stands behind it out of sight in every row; `--output json` has it whole.
fn short(text: String) -> String {
    if text.chars().count() <= WIDEST { text } else { text.chars().take(WIDEST - 1).chain(['…']).collect() }
}

fn finished(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_line_up_and_control_characters_are_harmless() {
        let text = rows(&["name", "state"], [vec!["a".into(), "RUNNING".into()], vec!["b\u{1b}[31m".into(), String::new()]]);
        assert_eq!(text, "NAME    STATE\na       RUNNING\nb [31m  -");
    }

    #[test]
    fn one_long_value_does_not_make_every_row_long() {
        let long = || "x".repeat(3000);
        let text = rows(&["name", "value", "why"], [vec!["a".into(), long(), "z".into()], vec!["b".into(), "y".into(), "z".into()]]);
        assert!(text.lines().all(|line| line.chars().count() <= 11 + WIDEST) && text.contains("x…"), "{text}");
        assert!(rows(&["at", "detail"], [vec!["now".into(), long()]]).len() > 3000, "at the end of a row it makes no other longer");
        assert!(properties(&[("value", Some("x".repeat(3000)))]).len() > 3000, "alone it is shown whole");
    }
}

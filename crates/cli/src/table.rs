//! Tables for people.

use comfy_table::{Cell, ContentArrangement, Table, presets};

/// Rows under headings, without lines between them.
pub fn rows(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = plain();
    table.set_header(headings.iter().map(|heading| Cell::new(heading.to_uppercase())));
    for row in rows {
        table.add_row(row.into_iter().map(shown));
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
}

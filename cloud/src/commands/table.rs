//! Tables: ruled for people at a terminal, plain columns for pipes.

use std::io::IsTerminal as _;

use comfy_table::{ContentArrangement, Table, presets};

/// A table of text.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    let at_terminal = std::io::stdout().is_terminal();
    table.load_style(if at_terminal { presets::UTF8_HORIZONTAL_ONLY } else { presets::NOTHING });
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

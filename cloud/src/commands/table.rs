//! Tables: aligned columns without frames, which read well in a narrow terminal and can be cut by other programs.

use comfy_table::{ContentArrangement, Table, presets};

/// A table of text. Cells are never broken: a terminal folds what is too long for it, and a search finds it.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_without_frames_and_without_trailing_blanks() {
        let rows =
            [["press-7", "online"], ["saw-1", "-"]].map(|row| row.map(str::to_owned).to_vec()).to_vec();
        assert_eq!(table(&["DEVICE", "LINK"], rows), "DEVICE   LINK\npress-7  online\nsaw-1    -\n");
    }
}

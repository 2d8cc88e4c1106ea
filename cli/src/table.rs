//! Tables in aligned columns, or field by field where a terminal is too narrow for them.

use console::{Term, measure_text_width};

use crate::terminal::{plain, say};

/// Prints rows under their heads; only the heads if there are no rows.
pub(crate) fn print(heads: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let width = Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    lines(heads, rows, width).iter().try_for_each(|line| say!("{line}"))
}

fn lines(heads: &[&str], rows: &[Vec<String>], most: Option<usize>) -> Vec<String> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let all = || std::iter::once(heads.to_vec()).chain(rows.iter().map(|row| row.iter().map(String::as_str).collect()));
    let widest = |column: usize| all().filter_map(|row| row.get(column).map(|cell| measure_text_width(cell))).max();
    let widths: Vec<usize> = (0..heads.len()).map(|column| widest(column).unwrap_or(0)).collect();
    let whole = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    if most.is_some_and(|most| whole > most) && !rows.is_empty() && heads.len() > 1 {
        return stacked(heads, &rows);
    }
    let padded = |row: Vec<&str>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let room = width.saturating_sub(measure_text_width(cell));
            format!("{cell}{}", " ".repeat(room))
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all().map(padded).collect()
}

/// The first cell of a row, and the others with their heads below it.
fn stacked(heads: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let widest = heads.iter().skip(1).map(|head| head.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for row in rows {
        for (column, (head, cell)) in heads.iter().zip(row).enumerate() {
            match (column, cell.is_empty()) {
                (0, _) => lines.push(cell.clone()),
                (_, true) => {}
                _ => lines.push(format!("  {:<widest$}  {cell}", head.to_lowercase())),
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(most: Option<usize>) -> Vec<String> {
        let rows = [["support", "Up (not ready)", "v3"], ["日本", "a\u{202e}b", ""]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        lines(&["AGENT", "STATE", "SERVES"], &rows, most)
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let wide = ["AGENT    STATE           SERVES", "support  Up (not ready)  v3", "日本     a\\u{202e}b"];
        assert_eq!(shown(None), wide);
        assert_eq!(shown(Some(31)), wide);
    }

    #[test]
    fn a_narrow_terminal_gets_a_field_a_line() {
        let narrow = ["support", "  state   Up (not ready)", "  serves  v3", "日本", "  state   a\\u{202e}b"];
        assert_eq!(shown(Some(30)), narrow);
        assert_eq!(lines(&["NAME", "HOSTS"], &[], Some(5)), ["NAME  HOSTS"]);
    }
}

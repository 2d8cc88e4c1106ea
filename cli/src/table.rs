//! Tables in aligned columns.

use crate::terminal::say;

/// Prints rows under their heads; only the heads if there are no rows.
pub(crate) fn print(heads: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(heads.get(column).map(|head| head.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    say!("{}", line(heads.to_vec()))?;
    for row in rows {
        say!("{}", line(row.iter().map(String::as_str).collect()))?;
    }
    Ok(())
}

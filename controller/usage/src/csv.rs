//! A table as CSV (RFC 4180). A text that a spreadsheet would take for a formula gets a `'` before it.

use std::borrow::Cow;

use crate::money::dollars;
use crate::table::{UsageRow, UsageTable};

/// The columns behind the groups.
const SUMS: [&str; 12] = [
    "requests",
    "errors",
    "input_tokens",
    "cached_tokens",
    "cache_written_tokens",
    "reasoning_tokens",
    "output_tokens",
    "cost_usd",
    "first_token_avg_ms",
    "first_token_max_ms",
    "wall_avg_ms",
    "wall_max_ms",
];

impl UsageTable {
    /// Writes the table with a line of names.
    pub fn csv(&self) -> String {
        let mut text = String::with_capacity(100 * (self.rows.len() + 1));
        line(&mut text, self.by.iter().map(|by| by.name().into()).chain(SUMS.map(Cow::Borrowed)));
        for row in &self.rows {
            let groups = row.group.iter().map(|value| guard(value.as_deref().unwrap_or_default()));
            line(&mut text, groups.chain(sums(row).map(Cow::Owned)));
        }
        text
    }
}

fn sums(row: &UsageRow) -> [String; 12] {
    let maybe = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    [
        row.requests.to_string(),
        row.errors.to_string(),
        row.input.to_string(),
        row.cached.to_string(),
        row.cache_written.to_string(),
        row.reasoning.to_string(),
        row.output.to_string(),
        dollars(row.money),
        maybe(row.first_token_avg_ms),
        maybe(row.first_token_max_ms),
        row.wall_avg_ms.to_string(),
        row.wall_max_ms.to_string(),
    ]
}

/// Spreadsheets take what begins like this for a formula, also behind blanks.
pub(crate) fn guard(text: &str) -> Cow<'_, str> {
    // Blanks, and marks that show nothing.
    let bare = text.trim_start_matches(|c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}')
    });
    match bare.starts_with(['=', '+', '-', '@']) || text.starts_with(['\t', '\r', '\n']) {
        true => format!("'{text}").into(),
        false => text.into(),
    }
}

pub(crate) fn line<'a>(into: &mut String, cells: impl Iterator<Item = Cow<'a, str>>) {
    for (number, cell) in cells.enumerate() {
        into.push_str(if number == 0 { "" } else { "," });
        if cell.contains([',', '"', '\r', '\n']) {
            into.push('"');
            into.push_str(&cell.replace('"', "\"\""));
            into.push('"');
        } else {
            into.push_str(&cell);
        }
    }
    into.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::By;

    #[test]
    fn cells_are_quoted_and_guarded() {
        let row = |group: &str| UsageRow { group: vec![Some(group.to_owned()), None], ..UsageRow::default() };
        let rows = ["plain", "a,\"b\"\nc", "=1+1", " @x", "-2", "\tx", "\u{feff}=1"].map(row).to_vec();
        let text = UsageTable { by: vec![By::Model, By::Agent], rows, left_out: 0 }.csv();
        let expected = ["plain", "\"a,\"\"b\"\"\nc\"", "'=1+1", "' @x", "'-2", "'\tx", "'\u{feff}=1"];
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], format!("model,agent,{}", SUMS.join(",")));
        for (line, cell) in lines[1..].iter().zip(expected) {
            assert_eq!(*line, format!("{cell},,0,0,0,0,0,0,0,0.00,,,0,0"));
        }
        assert_eq!(lines.len(), expected.len() + 2);
    }
}

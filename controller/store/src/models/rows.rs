//! Statements over many rows at once. The numbers of rows in one statement are powers of two, so that a connection
//! prepares only a few statements of each kind.

use std::sync::OnceLock;

/// The most rows in a statement is `1 << MAX_POWER`.
const MAX_POWER: usize = 7;

/// A statement for each number of rows, made once.
pub(super) struct Statements {
    texts: [OnceLock<String>; MAX_POWER + 1],
    before: &'static str,
    after: &'static str,
    /// Values of one row, in parentheses if there are several.
    columns: usize,
    /// Values that stand before those of the rows.
    fixed: usize,
}

impl Statements {
    /// `before` and `after` stand around the rows' placeholders.
    pub(super) const fn new(before: &'static str, columns: usize, after: &'static str) -> Self {
        Self { texts: [const { OnceLock::new() }; MAX_POWER + 1], before, after, columns, fixed: 0 }
    }

    /// `$1` to `$fixed` are in `before` or `after`, and bound before the rows.
    pub(super) const fn with_fixed(mut self, fixed: usize) -> Self {
        self.fixed = fixed;
        self
    }

    fn text(&'static self, power: usize) -> &'static str {
        let Some(text) = self.texts.get(power) else { return "" };
        text.get_or_init(|| self.write(1 << power))
    }

    fn write(&self, rows: usize) -> String {
        let mut text = self.before.to_owned();
        for row in 0..rows {
            text.push_str(if row == 0 { "" } else { ", " });
            text.push_str(if self.columns > 1 { "(" } else { "" });
            for column in 0..self.columns {
                let comma = if column == 0 { "" } else { ", " };
                text.push_str(&format!("{comma}${}", self.fixed + row * self.columns + column + 1));
            }
            text.push_str(if self.columns > 1 { ")" } else { "" });
        }
        text + self.after
    }

    /// Splits rows into those of one statement each.
    pub(super) fn over<'r, R>(&'static self, rows: &'r [R]) -> impl Iterator<Item = (&'static str, &'r [R])> {
        let mut rest = rows;
        std::iter::from_fn(move || {
            let power = usize::try_from(rest.len().checked_ilog2()?).unwrap_or(0).min(MAX_POWER);
            let (these, others) = rest.split_at_checked(1 << power)?;
            rest = others;
            Some((self.text(power), these))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_by_powers_of_two() {
        static PAIRS: Statements = Statements::new("VALUES ", 2, " X");
        static LIST: Statements = Statements::new("IN (", 1, ")");
        let rows = [0_u8; 300];
        let sizes: Vec<usize> = PAIRS.over(&rows).map(|(_, rows)| rows.len()).collect();
        assert_eq!(sizes, [128, 128, 32, 8, 4]);
        assert_eq!(PAIRS.over(&rows[..2]).next().unwrap().0, "VALUES ($1, $2), ($3, $4) X");
        assert_eq!(LIST.over(&rows[..3]).map(|(sql, _)| sql).collect::<Vec<_>>(), ["IN ($1, $2)", "IN ($1)"]);
        assert_eq!(LIST.over(&rows[..0]).count(), 0);
    }
}

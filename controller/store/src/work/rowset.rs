//! Rows as parameters: a statement has the same text for any number of rows, so that a connection prepares it once.
//!
//! PostgreSQL gets an array for each column, SQLite one JSON array of rows. Texts lose NUL characters, which PostgreSQL cannot
//! keep: one task's text must not spoil the batch of others.

use sqlx::query::Query;
use sqlx::{Any, any::AnyArguments};

/// The database's dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
}

pub(super) use Kind::{Int, Text};

/// The columns of a set of rows.
pub(super) type Columns = &'static [(&'static str, Kind)];

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Text(String),
    Int(i64),
    Null,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text })
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Int(crate::columns::signed(number))
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The source of rows, in a statement whose parameters before it are `before`; its name is `v`.
pub(super) fn source(dialect: Dialect, columns: Columns, before: usize) -> String {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    match dialect {
        Dialect::Postgres => {
            let array = |(n, (_, kind)): (usize, &(&str, Kind))| match kind {
                Kind::Text => format!("${}::text[]", before + n + 1),
                Kind::Int => format!("${}::bigint[]", before + n + 1),
            };
            let arrays: Vec<String> = columns.iter().enumerate().map(array).collect();
            format!("unnest({}) AS v({})", arrays.join(", "), names.join(", "))
        }
        Dialect::Sqlite => {
            let values: Vec<String> =
                names.iter().enumerate().map(|(n, name)| format!("value ->> {n} AS {name}")).collect();
            format!("(SELECT {} FROM json_each(${})) AS v", values.join(", "), before + 1)
        }
    }
}

/// A list of texts in parentheses after `IN`, as parameter `number`.
pub(super) fn list(dialect: Dialect, number: usize) -> String {
    match dialect {
        Dialect::Postgres => format!("(SELECT unnest(${number}::text[]))"),
        Dialect::Sqlite => format!("(SELECT value FROM json_each(${number}))"),
    }
}

/// The parameters of rows.
pub(super) fn parameters(dialect: Dialect, columns: Columns, rows: &[Vec<Cell>]) -> Vec<String> {
    match dialect {
        Dialect::Postgres => (0..columns.len()).map(|n| array(rows.iter().filter_map(|row| row.get(n)))).collect(),
        Dialect::Sqlite => vec![json_rows(rows)],
    }
}

/// The parameter of a list of texts.
pub(super) fn texts<'a>(dialect: Dialect, texts: impl IntoIterator<Item = &'a str>) -> String {
    let cells: Vec<Cell> = texts.into_iter().map(Cell::from).collect();
    match dialect {
        Dialect::Postgres => array(cells.iter()),
        Dialect::Sqlite => {
            let mut text = String::from("[");
            for (n, cell) in cells.iter().enumerate() {
                text.push_str(if n > 0 { "," } else { "" });
                json_cell(&mut text, cell);
            }
            text + "]"
        }
    }
}

pub(super) type Statement<'q> = Query<'q, Any, AnyArguments>;

pub(super) fn bind<'q>(mut statement: Statement<'q>, parameters: Vec<String>) -> Statement<'q> {
    for parameter in parameters {
        statement = statement.bind(parameter);
    }
    statement
}

/// An array as PostgreSQL reads it.
fn array<'a>(cells: impl Iterator<Item = &'a Cell>) -> String {
    let mut text = String::with_capacity(256);
    text.push('{');
    for (n, cell) in cells.enumerate() {
        if n > 0 {
            text.push(',');
        }
        match cell {
            Cell::Null => text.push_str("NULL"),
            Cell::Int(number) => text.push_str(&number.to_string()),
            Cell::Text(value) => {
                text.push('"');
                escape(&mut text, value);
                text.push('"');
            }
        }
    }
    text.push('}');
    text
}

/// Puts a backslash before quotes and backslashes.
fn escape(text: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.bytes().position(|byte| byte == b'"' || byte == b'\\') {
        let (before, special) = rest.split_at(at);
        text.push_str(before);
        text.push('\\');
        // Both are one byte long.
        let (special, after) = special.split_at(1);
        text.push_str(special);
        rest = after;
    }
    text.push_str(rest);
}

fn json_rows(rows: &[Vec<Cell>]) -> String {
    let mut text = String::from("[");
    for (n, row) in rows.iter().enumerate() {
        text.push_str(if n > 0 { ",[" } else { "[" });
        for (n, cell) in row.iter().enumerate() {
            text.push_str(if n > 0 { "," } else { "" });
            json_cell(&mut text, cell);
        }
        text.push(']');
    }
    text + "]"
}

fn json_cell(text: &mut String, cell: &Cell) {
    match cell {
        Cell::Null => text.push_str("null"),
        Cell::Int(number) => text.push_str(&number.to_string()),
        Cell::Text(value) => text.push_str(&serde_json::Value::from(value.as_str()).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_arrays_or_json() {
        const COLUMNS: Columns = &[("a", Text), ("b", Int)];
        let rows = vec![
            vec![Cell::from("x\"y\\z\0"), Cell::from(1_i64)],
            vec![Cell::from(""), Cell::Null],
            vec![Cell::from("NULL, {}"), Cell::from(-2_i64)],
        ];
        let arrays = parameters(Dialect::Postgres, COLUMNS, &rows);
        assert_eq!(arrays, ["{\"x\\\"y\\\\z\u{fffd}\",\"\",\"NULL, {}\"}", "{1,NULL,-2}"]);
        let json = parameters(Dialect::Sqlite, COLUMNS, &rows);
        assert_eq!(json, ["[[\"x\\\"y\\\\z\u{fffd}\",1],[\"\",null],[\"NULL, {}\",-2]]"]);
        assert_eq!(source(Dialect::Postgres, COLUMNS, 3), "unnest($4::text[], $5::bigint[]) AS v(a, b)");
        assert!(source(Dialect::Sqlite, COLUMNS, 1).contains("value ->> 1 AS b FROM json_each($2)"));
        assert_eq!(texts(Dialect::Postgres, ["a", "b"]), "{\"a\",\"b\"}");
        assert_eq!(texts(Dialect::Sqlite, []), "[]");
    }
}

//! Files of cases: reads them, compares, writes what is expected anew when asked to, and writes JSON over several lines.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cofferdam_dialects::{Dialect, sse};
use serde_json::Value;

pub(crate) struct File {
    pub(crate) from: Dialect,
    pub(crate) to: Dialect,
}

pub(crate) struct Case {
    pub(crate) name: String,
    parts: std::cell::RefCell<Vec<(String, String)>>,
    write: bool,
    texts: Vec<(String, &'static str)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// Runs every case of every file of a kind.
pub(crate) fn each(kind: &str, run: impl Fn(&File, &Case)) {
    let write = std::env::var_os("COFFERDAM_WRITE_CASES").is_some();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut files = 0;
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let words: Vec<&str> = name.split('.').collect();
        let [of, from, to, "txt"] = words.as_slice() else { panic!("{name} is no name of a file of cases") };
        if *of != kind {
            continue;
        }
        files += 1;
        let file = File { from: Dialect::named(from).unwrap(), to: Dialect::named(to).unwrap() };
        let cases = parse(&std::fs::read_to_string(&path).unwrap(), write);
        for case in &cases {
            run(&file, case);
        }
        if write {
            std::fs::write(&path, cases.iter().map(Case::shown).collect::<String>()).unwrap();
        }
    }
    assert!(files > 0, "no file of {kind}");
}

fn parse(text: &str, write: bool) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            let parts = std::cell::RefCell::default();
            cases.push(Case { name: name.to_owned(), parts, write, texts: Vec::new() });
        } else if let Some(part) = line.strip_prefix("-- ") {
            cases.last_mut().unwrap().parts.get_mut().push((part.to_owned(), String::new()));
        } else if let Some(case) = cases.last_mut()
            && let Some((_, text)) = case.parts.get_mut().last_mut()
        {
            text.push_str(line);
            text.push('\n');
        }
    }
    for case in &mut cases {
        let parts = case.parts.get_mut().iter();
        case.texts =
            parts.map(|(name, text)| (name.clone(), &*text.trim_end_matches('\n').to_owned().leak())).collect();
    }
    cases
}

impl Case {
    pub(crate) fn part(&self, name: &str) -> Option<&str> {
        self.texts.iter().find(|part| part.0 == name).map(|part| part.1)
    }

    /// A stream's bytes, with the empty line that ends its last event unless it ends with `<cut>`. `<xNN>` is one byte.
    pub(crate) fn wire(&self, name: &str) -> Vec<u8> {
        let text = self.part(name).unwrap();
        let text = text.strip_suffix("\n<cut>").map_or_else(|| format!("{text}\n\n"), ToOwned::to_owned);
        let mut wire = Vec::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find("<x") {
            wire.extend_from_slice(&rest.as_bytes()[..at]);
            wire.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).unwrap());
            rest = &rest[at + 5..];
        }
        wire.extend_from_slice(rest.as_bytes());
        wire
    }

    pub(crate) fn expect(&self, part: &str, found: &str, same: impl Fn(&str, &str) -> bool) {
        if self.write {
            let mut parts = self.parts.borrow_mut();
            parts.retain(|part| !matches!(part.0.as_str(), "out" | "refused" | "error"));
            parts.push((part.to_owned(), found.to_owned()));
            return;
        }
        let expected =
            self.part(part).unwrap_or_else(|| panic!("{}: expected no {part}, but found {found}", self.name));
        assert!(same(expected, found), "{}: expected\n{expected}\nfound\n{found}", self.name);
    }

    fn shown(&self) -> String {
        let mut text = format!("== {}\n", self.name);
        for (name, part) in self.parts.borrow().iter() {
            writeln!(text, "-- {name}\n{}", part.trim_end_matches('\n')).unwrap();
        }
        text.push('\n');
        text
    }
}

pub(crate) fn same(one: &str, two: &str) -> bool {
    let (one, two): (Value, Value) = (serde_json::from_str(one).unwrap(), serde_json::from_str(two).unwrap());
    one == two
}

/// The caller's stream has an end that its protocol knows.
pub(crate) fn is_ended(dialect: Dialect, wire: &[u8]) -> bool {
    let mut last = (String::new(), String::new());
    let mut reader = sse::Reader::default();
    reader.push(wire, |event| last = (event.name.to_owned(), event.data.to_owned())).unwrap();
    match dialect {
        Dialect::Chat => last.1 == "[DONE]" || last.1.starts_with("{\"error\":"),
        Dialect::Messages => matches!(last.0.as_str(), "message_stop" | "error"),
        Dialect::Responses => {
            matches!(last.0.as_str(), "response.completed" | "response.incomplete" | "response.failed" | "error")
        }
    }
}

/// JSON over several lines, in its own order.
pub(crate) fn pretty(json: &[u8]) -> String {
    let text = std::str::from_utf8(json).unwrap();
    serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let (mut out, mut depth, mut in_string, mut escaped) = (String::new(), 0_usize, false, false);
    let mut before = ' ';
    for c in text.chars() {
        let opens = matches!(before, '{' | '[') && !in_string;
        if opens && !matches!(c, '}' | ']') && depth <= 2 {
            write!(out, "\n{}", "  ".repeat(depth)).unwrap();
        }
        match c {
            _ if in_string => {
                in_string = escaped || c != '"';
                escaped = c == '\\' && !escaped;
                out.push(c);
            }
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                depth += 1;
                out.push(c);
            }
            '}' | ']' => {
                if !opens && depth <= 2 {
                    write!(out, "\n{}", "  ".repeat(depth - 1)).unwrap();
                }
                depth -= 1;
                out.push(c);
            }
            ',' if depth <= 2 => write!(out, ",\n{}", "  ".repeat(depth)).unwrap(),
            ',' => out.push_str(", "),
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            c => out.push(c),
        }
        before = if in_string { ' ' } else { c };
    }
    out
}

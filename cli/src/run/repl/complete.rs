//! Guesses from brackets, strings and blocks if an input is complete. The guess is right for what people type; the
//! language decides when it runs.

use cofferdam_contract::Language;

/// True if nothing is open at the input's end.
pub(super) fn is_complete(input: &str, language: Language) -> bool {
    let trimmed = input.trim_start();
    if trimmed.starts_with(':') {
        return true;
    }
    let python = language == Language::Python;
    if open_at_end(input, python) || input.trim_end_matches([' ', '\t']).ends_with('\\') {
        return false;
    }
    if !python {
        return true;
    }
    let lines: Vec<&str> = input.lines().collect();
    let opens_block = |line: &&str| {
        let code = line.split(" #").next().unwrap_or_default().trim_end();
        code.ends_with(':') || code.trim_start().starts_with('@')
    };
    let in_block = lines.iter().any(opens_block);
    // An empty line ends a block.
    !in_block || (lines.len() > 1 && (input.ends_with('\n') || lines.last().is_some_and(|line| line.trim().is_empty())))
}

/// True if a bracket or a string that spans lines is open.
fn open_at_end(input: &str, python: bool) -> bool {
    let mut rest = input;
    let mut depth = 0_i32;
    while let Some(character) = rest.chars().next() {
        let comment = if python { rest.starts_with('#') } else { rest.starts_with("//") };
        if comment {
            rest = rest.find('\n').and_then(|end| rest.get(end..)).unwrap_or_default();
            continue;
        }
        if !python && rest.starts_with("/*") {
            match rest.find("*/").and_then(|end| rest.get(end + 2..)) {
                Some(after) => rest = after,
                None => return true,
            }
            continue;
        }
        let quote = match character {
            '"' if python && rest.starts_with("\"\"\"") => Some(("\"\"\"", true)),
            '\'' if python && rest.starts_with("'''") => Some(("'''", true)),
            '"' => Some(("\"", false)),
            '\'' => Some(("'", false)),
            '`' if !python => Some(("`", true)),
            _ => None,
        };
        if let Some((quote, spans_lines)) = quote {
            match after_string(rest.get(quote.len()..).unwrap_or_default(), quote, spans_lines) {
                Some(after) => rest = after,
                None => return spans_lines,
            }
            continue;
        }
        depth += match character {
            '(' | '[' | '{' => 1,
            ')' | ']' | '}' => -1,
            _ => 0,
        };
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
    }
    depth > 0
}

/// The rest after a string's end; `None` if it does not end.
fn after_string<'a>(text: &'a str, quote: &str, spans_lines: bool) -> Option<&'a str> {
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let character = rest.chars().next()?;
        if rest.starts_with(quote) {
            return rest.get(quote.len()..);
        }
        if character == '\n' && !spans_lines {
            return Some(rest);
        }
        at += character.len_utf8();
        if character == '\\' {
            at += rest.chars().nth(1).map_or(0, char::len_utf8);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_goes_on() {
        for (input, python, javascript) in [
            ("1 + 1", true, true),
            ("f(1,", false, false),
            ("f(1,\n2)", true, true),
            ("x = '('", true, true),
            ("x = \"\\\"(\"", true, true),
            ("x = '''a\nb", false, true),
            ("x = '''a\nb'''", true, true),
            ("`a${1}\n", true, false),
            ("if x:", false, true),
            ("if x:\n    y()", false, true),
            ("if x:\n    y()\n", true, true),
            ("for i in range(3): print(i)", true, true),
            ("@cached", false, true),
            ("x = {'a': 1}", true, true),
            ("1 + \\", false, false),
            ("// (", false, true),
            ("# (", true, false),
            ("/* (", false, false),
            (":help", true, true),
            ("}", true, true),
        ] {
            assert_eq!(is_complete(input, Language::Python), python, "python: {input:?}");
            assert_eq!(is_complete(input, Language::JavaScript), javascript, "javascript: {input:?}");
        }
    }
}

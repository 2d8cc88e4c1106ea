//! Makes a foreign line safe to show: one line, no terminal commands, bounded. Pure.

use std::borrow::Cow;

/// Bytes kept of a line, before the mark that says how much is missing.
const MAX_LINE_BYTES: usize = 16 << 10;

/// The line without escape sequences. Other control characters become U+FFFD; tabs stay.
pub(crate) fn clean(line: &str) -> Cow<'_, str> {
    let line = line.trim_end_matches(['\n', '\r']);
    if line.chars().all(|c| c == '\t' || !c.is_control()) {
        return Cow::Borrowed(line);
    }
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars();
    // Looking for an end that is not there again and again would take quadratic time.
    let mut may_end = true;
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest, &mut may_end),
            // The same as ESC and `[`.
            '\u{9b}' => skip_parameters(&mut rest),
            '\t' => text.push(c),
            c if c.is_control() => text.push('\u{fffd}'),
            c => text.push(c),
        }
    }
    Cow::Owned(text)
}

/// `may_end` becomes false once the rest of the line is known to have no end of a title or link.
fn skip_escape(rest: &mut std::str::Chars<'_>, may_end: &mut bool) {
    match rest.clone().next() {
        Some('[') => {
            rest.next();
            skip_parameters(rest);
        }
        // A title or a link ends with BEL or ESC `\`. One without an end loses its head only.
        Some(']' | 'P' | '_' | '^' | 'X') => {
            rest.next();
            if !*may_end {
                return;
            }
            let mut end = rest.clone();
            while let Some(c) = end.next() {
                if c == '\u{7}' || (c == '\u{1b}' && end.clone().next() == Some('\\')) {
                    if c == '\u{1b}' {
                        end.next();
                    }
                    *rest = end;
                    return;
                }
            }
            *may_end = false;
        }
        Some(c) if !c.is_control() => {
            rest.next();
        }
        _ => {}
    }
}

/// Skips the parameters of a control sequence and the letter that ends it.
fn skip_parameters(rest: &mut std::str::Chars<'_>) {
    while let Some(c) = rest.clone().next() {
        if !(' '..='~').contains(&c) {
            return;
        }
        rest.next();
        if ('@'..='~').contains(&c) {
            return;
        }
    }
}

/// The first [`MAX_LINE_BYTES`] of a line, and a mark where there was more.
pub(crate) fn bound(line: Cow<'_, str>) -> Cow<'_, str> {
    if line.len() <= MAX_LINE_BYTES {
        return line;
    }
    let end = line.floor_char_boundary(MAX_LINE_BYTES);
    let kept = line.get(..end).unwrap_or_default();
    Cow::Owned(format!("{kept}... [cut: {} bytes more]", line.len() - end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_get_nothing_but_text() {
        for (line, text) in [
            ("plain\ttext, ümläut", "plain\ttext, ümläut"),
            ("\u{1b}[31mred\u{1b}[0m\r\n", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]8;;http://x\u{1b}\\link", "link"),
            ("\u{1b}]no end", "no end"),
            ("\u{1b}[2Jgone\u{9b}1mbold", "gonebold"),
            ("a\0b\u{7f}c\u{85}d", "a\u{fffd}b\u{fffd}c\u{fffd}d"),
            ("x\rprogress", "x\u{fffd}progress"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
            ("\u{1b}\u{1b}[1mx", "x"),
            ("a\u{1b}[31\nevent: log", "a\u{fffd}event: log"),
        ] {
            assert_eq!(clean(line), text, "{line:?}");
        }
    }

    #[test]
    fn titles_without_an_end_take_linear_time() {
        let line = "\u{1b}]".repeat(1 << 20);
        let started = std::time::Instant::now();
        assert_eq!(clean(&line), "");
        assert_eq!(clean(&format!("{line}\u{7}after")), "after");
        // Quadratic, it took minutes.
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }

    #[test]
    fn long_lines_are_cut_between_characters_and_say_so() {
        assert_eq!(bound("x".repeat(MAX_LINE_BYTES).into()).len(), MAX_LINE_BYTES);
        let cut = bound(format!("x{}", "ä".repeat(MAX_LINE_BYTES)).into());
        assert!(
            cut.len() < MAX_LINE_BYTES + 40 && cut.ends_with("ä... [cut: 16386 bytes more]"),
            "{}",
            &cut[MAX_LINE_BYTES - 10..]
        );
    }
}

//! How wide is a text on a terminal, and what of it may go there?

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::Charset;

/// As many characters as a person sees as one may be made of; the marks after that are left out.
const MAX_CLUSTER: usize = 12;

/// The longest beginning of a text that is no wider than `max`, with what is not printed escaped; and how wide it is.
///
/// Control characters, marks that turn the direction of writing, invisible ones and marks without a letter are escaped as
/// Rust does it; whatever is a space becomes one. What is cut ends with an ellipsis.
pub(super) fn shown(text: &str, max: usize, charset: Charset) -> (String, usize) {
    let ellipsis = charset.glyphs().ellipsis;
    let (mut shown, mut width) = (String::new(), 0);
    // Where the text ends if it has to be cut.
    let (mut cut, mut cut_width) = (0, 0);
    for cluster in text.graphemes(true) {
        let cluster = safe(cluster, charset);
        width += cluster.width();
        if width > max {
            shown.truncate(cut);
            shown.push_str(ellipsis);
            return (shown, cut_width + ellipsis.width());
        }
        shown.push_str(&cluster);
        if width + ellipsis.width() <= max {
            (cut, cut_width) = (shown.len(), width);
        }
    }
    (shown, width)
}

/// What a person sees as one character, as it may be printed.
fn safe(cluster: &str, charset: Charset) -> String {
    let mut chars = cluster.chars();
    let Some(first) = chars.next() else { return String::new() };
    let is_lone = chars.as_str().is_empty();
    if is_lone && (first == ' ' || first.is_ascii_graphic()) {
        return first.to_string();
    }
    // A mark on nothing would hang on what is printed before it.
    if charset == Charset::Ascii || (first.to_string().width() == 0 && !first.is_control()) {
        return cluster.chars().take(MAX_CLUSTER).flat_map(escaped).collect();
    }
    let joins = |c: char| matches!(c, '\u{200c}' | '\u{200d}') && !is_lone && !first.is_ascii();
    let mut safe = String::new();
    for c in cluster.chars().take(MAX_CLUSTER) {
        if c.is_whitespace() && !c.is_control() {
            safe.push(' ');
        } else if joins(c) || is_printable(c) {
            safe.push(c);
        } else {
            safe.extend(c.escape_default());
        }
    }
    safe
}

fn escaped(c: char) -> Vec<char> {
    if c == ' ' || c.is_ascii_graphic() { vec![c] } else { c.escape_default().collect() }
}

/// As `Debug` of a string has it, which knows Unicode's tables; but for quotes and backslashes.
fn is_printable(c: char) -> bool {
    let after_letter = String::from_iter(['a', c]);
    matches!(c, '"' | '\'' | '\\') || after_letter.escape_debug().eq(after_letter.chars())
}

#[cfg(test)]
mod tests {
    use super::super::Charset;
    use super::shown;

    fn unicode(text: &str) -> (String, usize) {
        shown(text, 40, Charset::Unicode)
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, expected) in [
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\u{9b}31m", "a\\u{9b}31m"),
            ("one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"),
            ("bell\u{7}\u{0}\u{7f}", "bell\\u{7}\\u{0}\\u{7f}"),
            ("evil\u{202e}txt.exe", "evil\\u{202e}txt.exe"),
            ("\u{2066}a\u{2069}\u{200f}", "\\u{2066}a\\u{2069}\\u{200f}"),
            ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
            ("a\u{200d}b", "a\\u{200d}b"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
            ("\u{301}lone", "\\u{301}lone"),
            ("one\u{2028}two", "one two"),
            ("it's \"quoted\" \\", "it's \"quoted\" \\"),
        ] {
            assert_eq!(unicode(text).0, expected, "{text:?}");
        }
    }

    #[test]
    fn what_people_write_is_measured() {
        for (text, width) in [
            ("plain", 5),
            ("東京", 4),
            ("e\u{301}te\u{301}", 3),
            ("שלום", 4),
            ("👩‍👩‍👧", 2),
            ("🇫🇷", 2),
            ("می\u{200c}خواهم", 7),
        ] {
            assert_eq!(unicode(text), (text.to_owned(), width), "{text:?}");
        }
    }

    #[test]
    fn a_text_is_cut_before_it_is_too_wide() {
        assert_eq!(shown("東京都", 6, Charset::Unicode), ("東京都".to_owned(), 6));
        assert_eq!(shown("東京都", 5, Charset::Unicode), ("東京…".to_owned(), 5));
        assert_eq!(shown("東京都", 4, Charset::Unicode), ("東…".to_owned(), 3));
        assert_eq!(shown("abcdef", 5, Charset::Ascii), ("ab...".to_owned(), 5));
        assert_eq!(shown("é", 9, Charset::Ascii), ("\\u{e9}".to_owned(), 6));
        let marks = format!("a{}", "\u{301}".repeat(1_000_000));
        assert!(shown(&marks, 40, Charset::Unicode).0.len() < 40);
    }
}

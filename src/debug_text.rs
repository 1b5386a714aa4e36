//! What does a `Debug` text say?
//!
//! `?Some("gpt-4o")` reaches us as the text `Some("gpt-4o")`: what it holds is the value. Only a text whose form is exactly
//! that of an `Option` or of a string is taken apart.

use std::borrow::Cow;

/// What a text holds that the program's `Debug` or `Display` code made; `None` if that is an `Option` without a value.
#[inline]
pub(crate) fn unwrapped(text: &str) -> Option<Cow<'_, str>> {
    if is_plain(text) { Some(text.into()) } else { value(text) }
}

/// Whether it is surely no `Debug` text of an `Option` or a string: nearly all are not.
#[inline]
pub(crate) fn is_plain(text: &str) -> bool {
    !matches!(text.as_bytes(), [b'"', ..] | [b'S', b'o', b'm', b'e', b'(', ..] | b"None")
}

fn value(text: &str) -> Option<Cow<'_, str>> {
    let mut text = text;
    while let Some(held) = text.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')) {
        if !is_balanced(held) {
            return Some(text.into());
        }
        text = held;
    }
    if text == "None" {
        return None;
    }
    let string = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(unescaped);
    Some(string.unwrap_or(text.into()))
}

/// Whether the parenthesis before it is the one that is closed after it.
fn is_balanced(held: &str) -> bool {
    let mut open = 0_usize;
    let mut in_string = false;
    let mut characters = held.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => drop(characters.next()),
            '"' => in_string = !in_string,
            '(' if !in_string => open += 1,
            ')' if !in_string => match open.checked_sub(1) {
                Some(rest) => open = rest,
                None => return false,
            },
            _ => {}
        }
    }
    open == 0 && !in_string && !held.is_empty()
}

/// A string as it was before `Debug` escaped it; `None` if `Debug` writes no such text.
fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(|c: char| c == '\\' || c == '"' || c.is_control()) {
        return Some(text.into());
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.push(escape(&mut characters)?),
            '"' => return None,
            character if character.is_control() => return None,
            character => plain.push(character),
        }
    }
    Some(plain.into())
}

/// The character that an escape stands for, behind its backslash.
fn escape(characters: &mut std::str::Chars<'_>) -> Option<char> {
    match characters.next()? {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        '0' => Some('\0'),
        plain @ ('\\' | '"' | '\'') => Some(plain),
        'u' => {
            let (code, rest) = characters.as_str().strip_prefix('{')?.split_once('}')?;
            *characters = rest.chars();
            char::from_u32(u32::from_str_radix(code, 16).ok()?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::unwrapped;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_taken_out_of_its_debug_text() {
        for (text, value) in [
            (format!("{:?}", Some("gpt-4o")), "gpt-4o"),
            (format!("{:?}", Some(Some("gpt-4o"))), "gpt-4o"),
            (format!("{:?}", "openai"), "openai"),
            (format!("{:?}", Some(12)), "12"),
            (format!("{:?}", Some(vec!["a", "b)"])), r#"["a", "b)"]"#),
            (format!("{:?}", Some("Some(x)")), "Some(x)"),
            (format!("{:?}", "\"quoted\"\n\u{7}"), "\"quoted\"\n\u{7}"),
            (format!("{:?}", Some("")), ""),
        ] {
            assert_eq!(unwrapped(&text).as_deref(), Some(value), "{text}");
        }
        for text in [format!("{:?}", None::<u8>), format!("{:?}", Some(None::<u8>))] {
            assert_eq!(unwrapped(&text), None, "{text}");
        }
    }

    #[test]
    fn any_other_text_stays() {
        for text in [
            "gpt-4o",
            "Some",
            "Some()",
            "Some(one) or (two)",
            "Some(one",
            "Nonesuch",
            r#""yes" and "no""#,
            r#"""""#,
            "\"two\nlines\"",
            r#""\/ is JSON""#,
            "\"",
            "",
        ] {
            assert_eq!(unwrapped(text).as_deref(), Some(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_string_comes_back(text in any::<String>()) {
            for written in [format!("{text:?}"), format!("{:?}", Some(&text))] {
                let read = unwrapped(&written);
                prop_assert_eq!(read.as_deref(), Some(text.as_str()));
            }
        }
    }
}

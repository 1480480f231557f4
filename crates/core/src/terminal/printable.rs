//! What a terminal obeys, taken out of what somebody else has written.

use std::fmt::Write;

use serde_json::Value;

/// Whether a terminal shows `character` instead of obeying it: control characters move its cursor or worse, and those
/// that turn the direction of writing make lines look like others.
fn is_shown(character: char) -> bool {
    let turns = matches!(character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !character.is_control() && !turns
}

/// Writes all characters that a terminal would obey of each text and each key in `value` as `\u{1b}`.
pub fn clean(value: &mut Value) {
    match value {
        Value::String(text) => clean_text(text),
        Value::Array(values) => values.iter_mut().for_each(clean),
        Value::Object(object) => {
            let cleaned = std::mem::take(object).into_iter().map(|(mut key, mut value)| {
                clean_text(&mut key);
                clean(&mut value);
                (key, value)
            });
            *object = cleaned.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// As [`clean`], of one text. A line feed is such a character too.
pub fn clean_text(text: &mut String) {
    if !text.chars().all(is_shown) {
        let mut cleaned = String::with_capacity(text.len());
        for character in text.chars() {
            match is_shown(character) {
                true => cleaned.push(character),
                false => cleaned.extend(character.escape_unicode()),
            }
        }
        *text = cleaned;
    }
}

/// The JSON text `json` on one line, with all characters that a terminal would obey as `\u001b`: the same value.
pub fn json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.trim_end().chars() {
        match character {
            // JSON has these between values only, and the others within texts only.
            '\n' | '\r' | '\t' => text.push(' '),
            shown if is_shown(shown) => text.push(shown),
            obeyed => {
                let _ = write!(text, "\\u{:04x}", u32::from(obeyed));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}]0;b\u{7}c\nd\u{9b}2Je\u{7f}\u{202e}f\r";

    /// Nothing that a terminal obeys is left, in texts and keys, and what it was can still be seen.
    #[test]
    fn terminals_are_not_obeyed() {
        let mut value = serde_json::json!({ HOSTILE: [HOSTILE, 1, null], "plain ä": "plain ä" });
        clean(&mut value);
        let expected = "a\\u{1b}]0;b\\u{7}c\\u{a}d\\u{9b}2Je\\u{7f}\\u{202e}f\\u{d}";
        assert_eq!(value, serde_json::json!({ expected: [expected, 1, null], "plain ä": "plain ä" }));
    }

    /// JSON without what a terminal obeys is the same value.
    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ HOSTILE: HOSTILE });
        let text = json(&(serde_json::to_string_pretty(&value).unwrap() + "\r\n"));
        assert!(text.chars().all(is_shown) && text.contains("\\u009b"), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}

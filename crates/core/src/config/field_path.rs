//! Paths to the fields of a message: `pose.pose.position`, `*.covariance`, `poses[0].position`, `markers[*].pose`.

use std::fmt;

use super::problem::is_key_material;

/// A path to fields of a message, as people write it.
///
/// Names are joined by dots. `*` in the place of a name stands for each field of that level, `[2]` behind a name for one
/// element of an array or sequence, counted from 0, `[*]` for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath {
    text: String,
    parts: Vec<PathPart>,
}

/// One step down from a message to what is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathPart {
    /// The field of this name.
    Field(String),
    /// Each field of the level.
    AnyField,
    /// The element with this index of an array or sequence.
    Element(usize),
    /// Each element.
    AnyElement,
}

impl FieldPath {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong with it, and what is allowed, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        if text.trim().is_empty() {
            return Err("it can't be empty".into());
        }
        for level in text.split('.') {
            let (name, index) = match level.split_once('[') {
                Some((name, index)) => (name, Some(index)),
                None => (level, None),
            };
            parts.push(field(name, text)?);
            if let Some(index) = index {
                parts.push(element(index)?);
            }
        }
        Ok(FieldPath { text: text.to_owned(), parts })
    }

    /// From the message down; never empty.
    pub fn parts(&self) -> &[PathPart] {
        &self.parts
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether `text` is a path, in words if not.
pub(super) fn check_field_path(text: &str) -> Result<(), String> {
    FieldPath::parse(text).map(drop)
}

fn field(name: &str, path: &str) -> Result<PathPart, String> {
    if name == "*" {
        return Ok(PathPart::AnyField);
    }
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // No field is called like a line of a key, which would be told wherever a path is.
    if name.starts_with(starts) && name.chars().all(goes_on) && !is_key_material(name) {
        return Ok(PathPart::Field(name.to_owned()));
    }
    Err(if name.is_empty() {
        "a name is missing; allowed are names of fields, joined by single dots, such as `pose.pose.position`".into()
    } else if name.contains('*') {
        "`*` stands for a whole name, and for the fields of one level, such as in `*.covariance`".into()
    } else if path.contains('/') {
        "names of fields are joined by dots, such as in `pose.pose.position`".into()
    } else {
        "a name of a field has letters, digits and `_`, and begins with none of the digits".into()
    })
}

/// The element that `index]` means.
fn element(index: &str) -> Result<PathPart, String> {
    const ALLOWED: &str =
        "behind a name allowed is an index from 0 in brackets, such as `poses[0]`, or `[*]` for each element";
    let index = index.strip_suffix(']').ok_or(ALLOWED)?;
    if index == "*" {
        return Ok(PathPart::AnyElement);
    }
    let digits = !index.is_empty() && index.chars().all(|c| c.is_ascii_digit());
    let number: Option<u32> = index.parse().ok().filter(|_| digits);
    Ok(PathPart::Element(number.ok_or(ALLOWED)? as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_down_from_the_message() {
        use PathPart::*;
        let named = |name: &str| Field(name.to_owned());
        for (text, parts) in [
            ("data", vec![named("data")]),
            ("pose.pose.position", vec![named("pose"), named("pose"), named("position")]),
            ("*.covariance", vec![AnyField, named("covariance")]),
            ("poses[0].position.*", vec![named("poses"), Element(0), named("position"), AnyField]),
            ("markers[*].pose", vec![named("markers"), AnyElement, named("pose")]),
            ("*[12]", vec![AnyField, Element(12)]),
        ] {
            let path = FieldPath::parse(text).unwrap();
            assert_eq!((path.parts(), path.to_string().as_str()), (parts.as_slice(), text));
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_what_is_allowed() {
        for (wrong, words) in [
            ("", "can't be empty"),
            (" ", "can't be empty"),
            (".pose", "a name is missing"),
            ("pose.", "a name is missing"),
            ("pose..x", "a name is missing"),
            ("[0]", "a name is missing"),
            ("pose/position", "joined by dots"),
            ("/odom", "joined by dots"),
            ("pos*", "a whole name"),
            ("**.x", "a whole name"),
            ("pose position", "letters, digits and `_`"),
            ("0", "letters, digits and `_`"),
            ("poses[0", "an index from 0"),
            ("poses[]", "an index from 0"),
            ("poses[-1]", "an index from 0"),
            ("poses[+1]", "an index from 0"),
            ("poses[0][1]", "an index from 0"),
            ("poses[0]x", "an index from 0"),
            ("poses[9999999999]", "an index from 0"),
        ] {
            let error = FieldPath::parse(wrong).expect_err(wrong);
            assert!(error.contains(words), "{wrong}: {error}");
        }
        let key = format!("M{}", "aB3".repeat(21));
        assert!(FieldPath::parse(&key).is_err_and(|error| error.contains("letters, digits and `_`")));
    }
}

//! The counts as they stand in docs/performance.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

const BEGIN: &str = "<!-- cargo instructions --renew writes what is between these two lines -->";
const END: &str = "<!-- end of what cargo instructions writes -->";

pub fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/performance.md")
}

/// Puts `counts` into the page.
///
/// # Errors
/// A sentence, where it can't be read or written, or has no place for them.
pub fn write(counts: &[(String, f64)]) -> Result<(), String> {
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", path().display());
    let page = std::fs::read_to_string(path()).map_err(|error| failed(&error))?;
    let page = renewed(&page, counts).ok_or_else(|| failed(&format!("there is no {BEGIN} with its end")))?;
    std::fs::write(path(), page).map_err(|error| failed(&error))
}

/// `page` with `counts`; `None` if it has no place for them.
pub fn renewed(page: &str, counts: &[(String, f64)]) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n{END}{after}", tables(counts)))
}

/// The tables of the codec, of shaping and of the queue.
fn tables(counts: &[(String, f64)]) -> String {
    let of = |prefix: &str| {
        let of = counts.iter().filter_map(|(name, count)| Some((name.strip_prefix(prefix)?, in_thousands(*count))));
        of.collect::<Vec<_>>()
    };
    let back: BTreeMap<&str, String> = of("codec: from JSON: ").into_iter().collect();
    let mut text = "| message | to JSON | from JSON |\n| --- | --: | --: |\n".to_owned();
    for (name, count) in of("codec: to JSON: ") {
        let _ = writeln!(text, "| {name} | {count} | {} |", back.get(name).map_or("", String::as_str));
    }
    text += "\n| a message in shaping | instructions |\n| --- | --: |\n";
    for (name, count) in of("shaping: ") {
        let _ = writeln!(text, "| {name} | {count} |");
    }
    text += "\n| a record of 200 bytes in the queue | instructions |\n| --- | --: |\n";
    for (name, count) in of("queue: ") {
        let _ = writeln!(text, "| {name} | {count} |");
    }
    for (name, count) in of("disk: ") {
        let _ = writeln!(text, "| disk: {name} | {count} |");
    }
    text
}

/// A whole number, its digits by threes.
pub fn in_thousands(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

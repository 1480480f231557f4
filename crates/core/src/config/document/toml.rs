//! TOML text to values, with the line of each key, and which of them are dates.

use figment::value::{Dict, Value};
use toml_edit::{ImDocument, Item, TableLike};

use super::{Dates, Lines, SyntaxFault, line_of};
use crate::config::problem::key_part;

/// Parses `text`. The depth is bounded by the parser.
pub(super) fn parse(text: &str) -> Result<(Dict, Lines, Dates), SyntaxFault> {
    let document = ImDocument::parse(text).map_err(|error| syntax(text, &error))?;
    let mut reader = Reader { text, lines: Lines::new(), dates: Dates::new(), next: (0, 1) };
    let values = reader.table(document.as_table(), "");
    Ok((values, reader.lines, reader.dates))
}

fn syntax(text: &str, error: &toml_edit::TomlError) -> SyntaxFault {
    let line = error.span().map(|span| line_of(text.as_bytes(), span.start));
    let found = match line.and_then(|line| text.lines().nth(line - 1)) {
        Some(content) => without_value(content.trim()),
        None => "no valid TOML".to_owned(),
    };
    // The parser's message may have several lines; a problem has two.
    let why = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let why: String = why.chars().take(LONGEST_REASON).collect();
    SyntaxFault { line, found, allowed: format!("this is no valid TOML: {why}") }
}

/// Longest message of the parser that is passed on, in characters: it may name a key.
const LONGEST_REASON: usize = 160;

/// A line for people to find it by, without a value, which may be secret: the key before it, or a table's header.
fn without_value(line: &str) -> String {
    let is_key = |part: &str| {
        let may_be = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || " _-.[]".contains(c);
        !part.is_empty() && part.len() <= LONGEST_KEY && part.chars().all(may_be)
    };
    match line.split_once('=') {
        Some((key, _)) if is_key(key.trim_end()) => format!("`{} = …`", key.trim_end()),
        None if is_key(line) && line.starts_with('[') => format!("`{line}`"),
        _ => "a line that can't be read".to_owned(),
    }
}

/// Longer than the longest header of a table.
const LONGEST_KEY: usize = 40;

struct Reader<'a> {
    text: &'a str,
    lines: Lines,
    dates: Dates,
    /// An offset that was asked for, and its line: keys come mostly in order, so the text is counted about once.
    next: (usize, usize),
}

impl Reader<'_> {
    fn table(&mut self, table: &dyn TableLike, path: &str) -> Dict {
        let mut dict = Dict::new();
        for (name, item) in table.iter() {
            let key = if path.is_empty() { key_part(name) } else { format!("{path}.{}", key_part(name)) };
            let span = table.get_key_value(name).and_then(|(key, _)| key.span());
            self.mark(&key, span);
            if let Some(value) = self.item(item, &key) {
                dict.insert(name.to_owned(), value);
            }
        }
        dict
    }

    fn item(&mut self, item: &Item, key: &str) -> Option<Value> {
        match item {
            Item::None => None,
            Item::Value(value) => Some(self.value(value, key)),
            Item::Table(table) => Some(self.table(table, key).into()),
            Item::ArrayOfTables(tables) => {
                let mut values: Vec<Value> = Vec::with_capacity(tables.len());
                for (index, table) in tables.iter().enumerate() {
                    let key = format!("{key}[{index}]");
                    self.mark(&key, table.span());
                    values.push(self.table(table, &key).into());
                }
                Some(values.into())
            }
        }
    }

    fn value(&mut self, value: &toml_edit::Value, key: &str) -> Value {
        match value {
            toml_edit::Value::String(text) => text.value().as_str().into(),
            toml_edit::Value::Integer(number) => (*number.value()).into(),
            toml_edit::Value::Float(number) => (*number.value()).into(),
            toml_edit::Value::Boolean(boolean) => (*boolean.value()).into(),
            // No key takes a date; as its text it is refused, or understood, like any other text. A message is told.
            toml_edit::Value::Datetime(date) => {
                self.dates.insert(key.to_owned());
                date.value().to_string().into()
            }
            toml_edit::Value::InlineTable(table) => self.table(table, key).into(),
            toml_edit::Value::Array(array) => {
                let mut values: Vec<Value> = Vec::with_capacity(array.len());
                for (index, value) in array.iter().enumerate() {
                    let key = format!("{key}[{index}]");
                    self.mark(&key, value.span());
                    values.push(self.value(value, &key));
                }
                values.into()
            }
        }
    }

    fn mark(&mut self, key: &str, span: Option<std::ops::Range<usize>>) {
        let Some(offset) = span.map(|span| span.start) else { return };
        let (from, line) = if offset >= self.next.0 { self.next } else { (0, 1) };
        let between = self.text.as_bytes().get(from..offset).unwrap_or_default();
        self.next = (offset, line + between.iter().filter(|byte| **byte == b'\n').count());
        self.lines.insert(key.to_owned(), self.next.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_line() {
        let text = "a = 1\n[b]\nc.d = 2\n[[e]]\nf = [\n 1,\n 2 ]\n\n[[e]]\nf = { g = 3 }\n";
        let (_, lines, _) = parse(text).expect("valid");
        let expected = [
            ("a", 1),
            ("b", 2),
            ("b.c.d", 3),
            ("e[0]", 4),
            ("e[0].f", 5),
            ("e[0].f[1]", 7),
            ("e[1]", 9),
            ("e[1].f.g", 10),
        ];
        for (key, line) in expected {
            assert_eq!(lines.get(key), Some(&line), "{key} in {lines:?}");
        }
    }

    #[test]
    fn dates_are_told_apart_from_text() {
        let text = "a = 2026-11-28\nb = \"2026-11-28\"\n[[c]]\nd = { \"e f\" = [\n 1, 07:32:00] }\n";
        let (values, _, dates) = parse(text).expect("valid");
        assert_eq!(dates.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "c[0].d.\"e f\"[1]"]);
        assert_eq!(values["a"].as_str(), Some("2026-11-28"));
    }

    #[test]
    fn a_syntax_error_shows_the_line_without_its_value() {
        for (line, found) in [
            ("b = = 2", "`b = …`"),
            ("url = \"http://robot:secret", "`url = …`"),
            ("[[topics]", "`[[topics]`"),
            ("MHcCAQEEIA4s==", "a line that can't be read"),
            ("secret", "a line that can't be read"),
        ] {
            let fault = parse(&format!("a = 1\n{line}\n")).expect_err("invalid");
            assert_eq!((fault.line, fault.found.as_str()), (Some(2), found));
            assert!(!fault.allowed.contains('\n') && !fault.allowed.contains("secret"), "{}", fault.allowed);
        }
    }
}

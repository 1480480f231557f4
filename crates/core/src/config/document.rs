//! One file of the configuration: its bytes read, decoded and parsed, with the line of each key.

mod json;
mod toml;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use figment::value::Dict;

use super::problem::{Problem, without_key};
use crate::accounts;

/// Largest file that is read, in bytes: some ten thousand topics.
const LARGEST: u64 = 1 << 20;

/// Lines of the keys in a file: `topics[2].rate` → 14.
pub(super) type Lines = BTreeMap<String, usize>;
/// Keys whose values were dates or times, and are the text of one in [`Document::values`].
pub(super) type Dates = BTreeSet<String>;

/// A file that could be read and parsed; its content is not judged yet.
#[derive(Debug)]
pub(super) struct Document {
    pub path: PathBuf,
    pub values: Dict,
    /// Empty for JSON.
    pub lines: Lines,
    /// Empty for JSON.
    pub dates: Dates,
    pub is_json: bool,
}

/// Why a file could not be parsed.
#[derive(Debug)]
struct SyntaxFault {
    line: Option<usize>,
    found: String,
    allowed: String,
}

impl Document {
    /// Reads `path`: JSON if it is called `.json`, TOML if it is called `.toml`, else JSON if it begins with a brace.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let problem = |line, found, allowed: String| Problem {
            source: path.display().to_string(),
            line,
            key: String::new(),
            found,
            allowed: without_key(&allowed).into_owned(),
        };
        let bytes = read(path).map_err(|(found, allowed)| problem(None, found, allowed))?;
        let text = decode(&bytes).map_err(|fault| problem(fault.line, fault.found, fault.allowed))?;
        let is_json = match path.extension() {
            Some(extension) if extension == "json" => true,
            Some(extension) if extension == "toml" => false,
            _ => text.trim_start().starts_with('{'),
        };
        let parsed = if is_json {
            json::parse(text).map(|values| (values, Lines::new(), Dates::new()))
        } else {
            toml::parse(text)
        };
        let (values, lines, dates) = parsed.map_err(|fault| problem(fault.line, fault.found, fault.allowed))?;
        Ok(Document { path: path.to_owned(), values, lines, dates, is_json })
    }
}

/// The bytes of `path`, or what was found and what is allowed.
fn read(path: &Path) -> Result<Vec<u8>, (String, String)> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => ("no such file".into(), "a configuration file has to stand here".into()),
        std::io::ErrorKind::IsADirectory => ("a directory".into(), "allowed is a TOML or JSON file".into()),
        std::io::ErrorKind::PermissionDenied => {
            (format!("a file that the user {} can't read", accounts::own_name()), accounts::permission(path))
        }
        _ => (format!("a file that can't be read ({error})"), "the service has to be able to read it".into()),
    };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(("a file of more than 1 MiB".into(), "a configuration has at most 1 MiB".into()));
    }
    Ok(bytes)
}

/// The text of a file, without a byte order mark.
fn decode(bytes: &[u8]) -> Result<&str, SyntaxFault> {
    let allowed = "allowed is UTF-8 text".to_owned();
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(SyntaxFault { line: Some(1), found: "UTF-16 text".into(), allowed });
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let at = error.valid_up_to();
            let found = format!("the byte 0x{:02x}, which is no UTF-8", bytes.get(at).copied().unwrap_or_default());
            Err(SyntaxFault { line: Some(line_of(bytes, at)), found, allowed })
        }
    }
}

/// The line, from 1, in which the byte at `offset` stands.
fn line_of(bytes: &[u8], offset: usize) -> usize {
    bytes.iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

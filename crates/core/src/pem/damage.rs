//! Why a text holds nothing that could be read as PEM.

use super::{Fault, Label, Wanted};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Whether a private key in `text` needs a passphrase, as far as its own words go.
pub(super) fn is_encrypted(text: &[u8]) -> bool {
    const MARKS: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
    MARKS.iter().any(|mark| text.windows(mark.len()).any(|window| window == *mark))
}

/// What is wrong with `text`, of which not everything that is `wanted` could be read.
pub(super) fn find(text: &[u8], wanted: Wanted) -> Fault {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Fault::Empty;
    }
    // Half of what is UTF-16 in Latin script are zeros, with or without a byte order mark.
    let zeros = text.iter().filter(|byte| **byte == 0).count();
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") || zeros * 3 > text.len() {
        return Fault::Utf16;
    }
    if let [0x30, length @ 0x80..=0xff, rest @ ..] = text {
        // What is in the sequence comes behind the octets of its length.
        let content = rest.get(usize::from(length & 0x7f)..).unwrap_or_default();
        // A PFX begins with its version, 3 (RFC 7292).
        return if content.starts_with(&[2, 1, 3]) { Fault::Pkcs12 } else { Fault::Der(wanted) };
    }
    let Ok(text) = std::str::from_utf8(text) else { return Fault::Binary };
    if zeros > 0 {
        return Fault::Binary;
    }
    match text.trim_start().as_bytes().first() {
        Some(b'{' | b'[') => return Fault::Json,
        Some(b'<') => return Fault::Html,
        _ => {}
    }
    if !text.contains(BEGIN) {
        return without_begin(text, wanted);
    }
    in_lines(text, wanted)
}

fn without_begin(text: &str, wanted: Wanted) -> Fault {
    let is_key_material = |line: &str| line.len() >= 40 && is_base64(line);
    if text.contains("BEGIN ") {
        Fault::NoBegin
    } else if text.lines().map(str::trim).any(is_key_material) {
        Fault::Bare
    } else {
        Fault::Nothing(wanted)
    }
}

/// A block of which the end is still to come.
struct Block<'a> {
    line: usize,
    label: &'a str,
    /// Characters of base64 so far, the padding included.
    length: usize,
}

fn in_lines(text: &str, wanted: Wanted) -> Fault {
    let mut block: Option<Block<'_>> = None;
    let mut other = None;
    let lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
    for (line, number) in lines.zip(1..) {
        let content = line.trim();
        match (content.find(BEGIN), block.as_mut()) {
            (Some(at), _) => {
                let behind = &content[at + BEGIN.len()..];
                let (label, tail) = behind.split_at(behind.find('-').unwrap_or(behind.len()));
                if content.contains("\\n") {
                    return Fault::EscapedBreaks;
                }
                if at > 0 || tail != DASHES {
                    let only_dashes = at == 0 && tail.bytes().all(|byte| byte == b'-');
                    return if only_dashes { Fault::NoBegin } else { Fault::RunTogether };
                }
                if line.starts_with([' ', '\t']) {
                    return Fault::Indented;
                }
                if let Some(block) = block {
                    // One that has only begun is a line that stands twice.
                    if block.length > 0 {
                        return Fault::NoEnd { line: block.line };
                    }
                }
                block = Some(Block { line: number, label, length: 0 });
            }
            (None, Some(open)) if content.contains(END) => {
                if !content.starts_with(END) {
                    return Fault::RunTogether;
                }
                if line.starts_with([' ', '\t']) {
                    return Fault::Indented;
                }
                if content != format!("{END}{}{DASHES}", open.label) {
                    return Fault::OtherEnd { line: open.line };
                }
                if open.length % 4 != 0 || open.length == 0 {
                    return Fault::Incomplete { line: open.line };
                }
                let label = Label::of(open.label);
                if open.label == "TRUSTED CERTIFICATE" && wanted == Wanted::Certificate {
                    return Fault::Trusted;
                }
                // Parameters stand before a key; what else there is says more.
                if other.is_none_or(|other| other == Label::Parameters) {
                    other = Some(label);
                }
                block = None;
            }
            (None, Some(open)) => {
                if !content.is_empty() && !is_base64(content) {
                    return Fault::NotBase64 { line: number };
                }
                open.length += content.len();
            }
            (None, None) => {}
        }
    }
    match (block, other, wanted) {
        (Some(block), ..) => Fault::NoEnd { line: block.line },
        // The label is right, and yet it could not be read.
        (None, Some(Label::Certificate), Wanted::Certificate) | (None, Some(Label::PrivateKey), Wanted::PrivateKey) => {
            Fault::Content(wanted)
        }
        (None, Some(found), _) => Fault::Other { found, wanted },
        (None, None, _) => Fault::Nothing(wanted),
    }
}

fn is_base64(line: &str) -> bool {
    line.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

//! Files as people damage them, and a look for what was in them in what a program says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What may happen to a file in PEM format on its way to a robot, by name. Some of them do no harm.
pub fn damaged(pem: &str) -> Vec<(&'static str, Vec<u8>)> {
    let body = body(pem);
    let der = STANDARD.decode(&body).unwrap();
    let (begin, end) = (pem.lines().next().unwrap(), pem.lines().last().unwrap());
    let label = begin.trim_start_matches("-----BEGIN ").trim_end_matches('-');
    let middle = pem.len() / 2;
    let utf16 = |with: fn(u16) -> [u8; 2]| pem.encode_utf16().flat_map(with).collect::<Vec<u8>>();
    let text = |text: String| text.into_bytes();
    vec![
        ("newlines lost", text(pem.replace('\n', ""))),
        ("newlines as blanks", text(pem.replace('\n', " "))),
        ("newlines as two characters", text(pem.replace('\n', "\\n"))),
        ("cut off", pem.as_bytes()[..middle].to_vec()),
        ("base64 cut off", text(format!("{begin}\n{}\n{end}\n", &body[..body.len() / 8 * 4 + 1]))),
        ("DER cut off", text(format!("{begin}\n{}\n{end}\n", &body[..body.len() / 8 * 4]))),
        ("bad base64", text(format!("{}*!*{}", &pem[..middle], &pem[middle..]))),
        ("Windows' line ends", text(pem.replace('\n', "\r\n"))),
        ("a byte order mark", text(format!("\u{feff}{pem}"))),
        ("a wrong label", text(pem.replace(label, "SOMETHING ELSE"))),
        ("the label of a public key", text(pem.replace(label, "PUBLIC KEY"))),
        ("the label of a request", text(pem.replace(label, "CERTIFICATE REQUEST"))),
        ("another label at its end", text(pem.replace(&format!("END {label}"), "END SOMETHING"))),
        ("garbage behind it", text(format!("{}{body}", pem.trim_end()))),
        ("itself again behind it, without a line break", text(format!("{}{pem}", pem.trim_end()))),
        ("DER", der),
        ("UTF-16", [&b"\xff\xfe"[..], &utf16(u16::to_le_bytes)].concat()),
        ("UTF-16 without a mark", utf16(u16::to_be_bytes)),
        ("its first line twice", text(format!("{begin}\n{pem}"))),
        ("its base64 alone", text(format!("{body}\n"))),
        ("indented", text(pem.lines().map(|line| format!("    {line}\n")).collect())),
        ("JSON", text(format!("{{\"key\": {:?}}}", pem))),
        ("four hyphens", text(pem.replace("-----", "----"))),
        ("base64 as its label", text(format!("-----BEGIN {body}\n{body}\n"))),
        ("base64 in its label", text(format!("-----BEGIN {body}-----\n{body}\n-----END {body}-----\n"))),
        ("a web page", text(format!("<html><pre>{pem}</pre></html>"))),
        ("a character that is no UTF-8", [&pem.as_bytes()[..middle], b"\xfc", &pem.as_bytes()[middle..]].concat()),
        ("nothing", Vec::new()),
    ]
}

/// The base64 of a file in PEM format.
pub fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

/// Parts of a secret in every form in which something of it might be said.
pub struct Needles(Vec<String>);

impl Needles {
    /// For what is in a file in PEM format.
    pub fn of_pem(pem: &str) -> Needles {
        let body = body(pem);
        let der = STANDARD.decode(&body).unwrap();
        Needles([forms(body.as_bytes(), 4), forms(&der, 4)].concat())
    }

    /// For a password.
    pub fn of(secret: &str) -> Needles {
        Needles(forms(secret.as_bytes(), 1))
    }

    /// A part of the secret that `said` holds.
    pub fn found_in(&self, said: &str) -> Option<&str> {
        // As UTF-16 it would stand with zeros between.
        let said = said.replace('\0', "").replace("\\0", "").replace("\\u{0}", "").replace("\\u0000", "");
        self.0.iter().find(|needle| said.contains(needle.as_str())).map(String::as_str)
    }
}

/// Eight bytes from every `step`th on, as themselves, in base64, and as numbers of several notations.
fn forms(secret: &[u8], step: usize) -> Vec<String> {
    let numbers: [fn(&u8) -> String; 4] = [
        |byte| format!("{byte:02x}"),
        |byte| format!("{byte:02X}"),
        |byte| byte.to_string(),
        |byte| format!("\\u{{{byte:x}}}"),
    ];
    let mut forms = Vec::new();
    for part in secret.windows(8).step_by(step) {
        forms.extend(std::str::from_utf8(part).ok().map(str::to_owned));
        for separator in ["", " ", ":", ", ", ",", ", 0x", "\\x"] {
            for number in numbers {
                forms.push(part.iter().map(number).collect::<Vec<_>>().join(separator));
            }
        }
        for skipped in 0..3 {
            // Three bytes are four characters, wherever they begin.
            let whole = (part.len() - skipped) / 3 * 3;
            forms.push(STANDARD.encode(&part[skipped..skipped + whole]));
        }
    }
    forms
}

use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::pem::PemObject;

use super::*;

use super::leaks;

/// Every way in which people damage a file has a sentence of its own, in which nothing of the file is; what does no harm
/// is read.
#[test]
fn damage_is_named() {
    let pair = KeyPair::generate().unwrap();
    let key = pair.serialize_pem();
    let certificate = CertificateParams::new(vec!["robot1".into()]).unwrap().self_signed(&pair).unwrap().pem();
    let run_together =
        "is damaged: its lines are run together; -----BEGIN …----- and -----END …----- need lines of their own";
    let middle = |pem: &str| pem[..pem.len() / 2].lines().count();
    let expected = |wanted: Wanted, name: &str| match name {
        "newlines lost" | "newlines as blanks" => run_together.to_owned(),
        "itself again behind it, without a line break" if wanted == Wanted::Certificate => run_together.to_owned(),
        "newlines as two characters" => {
            "is damaged: its line breaks are the two characters \\n; `printf '%b'` makes line breaks of them".into()
        }
        "cut off" => "is damaged: the block of line 1 has no end, a line -----END …-----".into(),
        "base64 cut off" => "is damaged: the base64 of the block of line 1 is incomplete".into(),
        "bad base64" => format!(
            "is damaged: line {} is no base64",
            middle(if wanted == Wanted::PrivateKey { &key } else { &certificate })
        ),
        "a wrong label" | "base64 in its label" => format!("holds something else, where a {wanted} belongs"),
        "the label of a public key" => format!("holds a public key, where a {wanted} belongs"),
        "the label of a request" => format!("holds a certificate signing request, where a {wanted} belongs"),
        "another label at its end" => {
            "is damaged: the block of line 1 begins with another word than it ends with".into()
        }
        "DER" => format!("is in DER format; `openssl {} -inform der` makes PEM of it", wanted.openssl()),
        "UTF-16" | "UTF-16 without a mark" => "is UTF-16 text; save it as UTF-8".into(),
        "its base64 alone" => "lacks its first and last line, -----BEGIN …----- and -----END …-----".into(),
        "indented" => {
            "is damaged: its lines are indented; take the blanks before -----BEGIN …----- and -----END …----- \
                       away"
                .into()
        }
        "JSON" => "is JSON; the PEM text in it has to stand in a file of its own, with its line breaks".into(),
        "four hyphens" | "base64 as its label" => {
            "has no line -----BEGIN …-----, with five hyphens on each side".into()
        }
        "a web page" => "is a web page".into(),
        "a character that is no UTF-8" => "is no text".into(),
        "nothing" => "is empty".into(),
        other => panic!("{other} is said to be damaged"),
    };
    for (wanted, pem) in [(Wanted::PrivateKey, &key), (Wanted::Certificate, &certificate)] {
        let needles = leaks::Needles::of_pem(pem);
        for (name, text) in leaks::damaged(pem) {
            let fault = match wanted {
                Wanted::PrivateKey => private_key(&text).err(),
                Wanted::Certificate => certificates(&text).fault,
            };
            match (name, fault) {
                // Its text is PEM; who reads the content finds the rest. And what does no harm.
                ("DER cut off" | "Windows' line ends" | "a byte order mark" | "its first line twice", None) => {}
                ("garbage behind it", None) => {}
                ("itself again behind it, without a line break", None) if wanted == Wanted::PrivateKey => {}
                (_, None) => panic!("{wanted}: {name} is no damage"),
                (_, Some(fault)) => {
                    let said = fault.to_string();
                    assert_eq!(said, expected(wanted, name), "{wanted}: {name}");
                    assert_eq!(needles.found_in(&format!("{said} {fault:?}")), None);
                    assert!(said.len() <= 120, "{said}");
                }
            }
        }
    }
}

/// A file that holds something else than was asked for is told what it holds.
#[test]
fn what_a_file_holds_instead_is_named() {
    let pair = KeyPair::generate().unwrap();
    let key = pair.serialize_pem();
    let certificate = CertificateParams::new(vec!["robot1".into()]).unwrap().self_signed(&pair).unwrap().pem();
    let labelled = |pem: &str, from: &str, to: &str| pem.replace(from, to);
    let fault = |pem: &str| private_key(pem.as_bytes()).expect_err(pem).to_string();
    assert_eq!(fault(&certificate), "holds a certificate, where a private key belongs");
    assert_eq!(
        fault(&labelled(&key, "PRIVATE KEY", "OPENSSH PRIVATE KEY")),
        "holds a key of OpenSSH, where a private key belongs"
    );
    let encrypted = labelled(&key, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert_eq!(fault(&encrypted), "is encrypted; the bridge needs it without a passphrase");
    assert_eq!(fault("some words\n"), "holds no private key in PEM format");
    let fault = |pem: &str| certificates(pem.as_bytes()).fault.expect(pem).to_string();
    assert_eq!(fault(&key), "holds a private key, where a certificate belongs");
    assert_eq!(
        fault(&labelled(&certificate, "CERTIFICATE", "TRUSTED CERTIFICATE")),
        "begins with BEGIN TRUSTED CERTIFICATE, OpenSSL's own form; `openssl x509 -in FILE` makes it ordinary"
    );
}

/// Of a bundle everything that can be read is there, and the line of what can't be is told.
#[test]
fn a_damaged_block_is_found_in_a_bundle() {
    let pair = KeyPair::generate().unwrap();
    let pem = CertificateParams::new(vec!["robot1".into()]).unwrap().self_signed(&pair).unwrap().pem();
    let pem = pem.replace('\r', "");
    let lines = pem.lines().count();
    let bad = pem.replacen("MII", "*", 1);
    let bundle = certificates(format!("# Somebody's authorities\n{pem}\n{bad}{pem}").as_bytes());
    assert_eq!((bundle.certificates.len(), bundle.fault), (2, Some(Fault::NotBase64 { line: lines + 4 })));
    let bundle = certificates(format!("{pem}{}", &pem[..pem.len() - 40]).as_bytes());
    assert_eq!((bundle.certificates.len(), bundle.fault), (1, Some(Fault::NoEnd { line: lines + 1 })));
}

/// A key that no certificate can be asked for with is told why.
#[test]
fn a_key_pair_is_read_or_explained() {
    let key = KeyPair::generate().unwrap();
    assert_eq!(key_pair(key.serialize_pem().as_bytes()).unwrap().serialize_der(), key.serialize_der());
    let cut = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let cut = armour(&cut.secret_der()[..100]);
    assert_eq!(key_pair(cut.as_bytes()).unwrap_err(), Fault::Length);
}

fn armour(der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

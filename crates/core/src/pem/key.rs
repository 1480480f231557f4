//! Why a private key can't be used, from its DER.

use rustls_pki_types::PrivateKeyDer;
use x509_parser::asn1_rs::{Any, FromDer, Oid, Tag, oid};

use super::{Fault, MOST_RSA_BITS, Wanted};

/// The formats of private keys, by what they are called in PEM.
const PKCS1: (&str, &str) = ("PKCS#1 (RSA)", "RSA PRIVATE KEY");
const SEC1: (&str, &str) = ("SEC 1 (EC)", "EC PRIVATE KEY");
const PKCS8: (&str, &str) = ("PKCS#8", "PRIVATE KEY");

/// Says why `key`, which could not be loaded, is none that the bridge can use.
pub fn explain_key(key: &PrivateKeyDer<'_>) -> Fault {
    let says = match key {
        PrivateKeyDer::Pkcs1(_) => PKCS1,
        PrivateKeyDer::Sec1(_) => SEC1,
        _ => PKCS8,
    };
    explain(key.secret_der(), says.1).unwrap_or(Fault::Content(Wanted::PrivateKey))
}

/// `None` if `der` is no private key at all.
fn explain(der: &[u8], says: &'static str) -> Option<Fault> {
    let Ok((behind, outer)) = Any::from_der(der) else {
        // A sequence whose length is larger than what there is.
        return (der.first() == Some(&0x30)).then_some(Fault::Length);
    };
    if outer.tag() != Tag::Sequence {
        return None;
    }
    if !behind.is_empty() {
        return Some(Fault::Length);
    }
    let (rest, version) = Any::from_der(outer.data).ok()?;
    if version.tag() != Tag::Integer {
        return None;
    }
    let (rest, second) = Any::from_der(rest).ok()?;
    let ((format, should_say), fault) = match second.tag() {
        Tag::Sequence => (PKCS8, pkcs8(second.data, rest)),
        Tag::Integer => (PKCS1, rsa(second.data)),
        Tag::OctetString => (SEC1, sec1(rest)),
        _ => return None,
    };
    if should_say != says {
        return Some(Fault::Mislabelled { format, says, should_say });
    }
    Some(fault.unwrap_or(Fault::Content(Wanted::PrivateKey)))
}

/// A key of the kind that `algorithm` names, in what follows (RFC 5958).
fn pkcs8(algorithm: &[u8], rest: &[u8]) -> Option<Fault> {
    let (parameters, kind) = Oid::from_der(algorithm).ok()?;
    let kind = kind.as_bytes();
    if kind == oid!(raw 1.2.840.113549.1.1.1) {
        let (_, inner) = Any::from_der(rest).ok()?;
        let (_, key) = Any::from_der(inner.data).ok()?;
        let (rest, _version) = Any::from_der(key.data).ok()?;
        return rsa(Any::from_der(rest).ok()?.1.data);
    }
    if kind == oid!(raw 1.2.840.10045.2.1) {
        return curve(parameters);
    }
    Some(if kind == oid!(raw 1.2.840.113549.1.1.10) {
        Fault::Algorithm("an RSA-PSS")
    } else if kind == oid!(raw 1.2.840.10040.4.1) {
        Fault::Algorithm("a DSA")
    } else if kind == oid!(raw 1.3.101.110) {
        Fault::Algorithm("an X25519")
    } else if kind == oid!(raw 1.3.101.112) {
        // This one can be used; something else is wrong with it.
        return None;
    } else if kind == oid!(raw 1.3.101.113) {
        Fault::Algorithm("an Ed448")
    } else {
        Fault::UnknownKey
    })
}

/// The parameters of an EC key behind its octets (RFC 5915).
fn sec1(rest: &[u8]) -> Option<Fault> {
    // Without them the curve is not known, and the key is of no use.
    let (_, parameters) = Any::from_der(rest).ok()?;
    curve(parameters.data)
}

fn curve(parameters: &[u8]) -> Option<Fault> {
    // A curve that is written out in full has no name.
    let Ok((_, curve)) = Oid::from_der(parameters) else { return Some(Fault::UnknownKey) };
    let curve = curve.as_bytes();
    let usable: [&[u8]; 3] = [&oid!(raw 1.2.840.10045.3.1.7), &oid!(raw 1.3.132.0.34), &oid!(raw 1.3.132.0.35)];
    if usable.contains(&curve) {
        return None;
    }
    Some(if curve == oid!(raw 1.3.132.0.10) {
        Fault::Curve("secp256k1")
    } else if curve == oid!(raw 1.3.132.0.33) {
        Fault::Curve("P-224")
    } else if curve == oid!(raw 1.2.840.10045.3.1.1) {
        Fault::Curve("P-192")
    } else {
        Fault::UnknownKey
    })
}

/// By the octets of the modulus.
fn rsa(modulus: &[u8]) -> Option<Fault> {
    let significant = modulus.iter().position(|byte| *byte != 0).map_or(&[][..], |at| &modulus[at..]);
    let first = significant.first().copied().unwrap_or(0);
    let bits = (significant.len() * 8).saturating_sub(first.leading_zeros() as usize);
    (!(2048..=MOST_RSA_BITS).contains(&bits)).then_some(Fault::RsaBits { bits })
}

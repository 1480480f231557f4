//! What may stand in `things.json`. Files are deleted and written by what it names, and things in AWS deleted; it is
//! readable by everybody and meant to be kept and shared, so it is believed no more than the command line.

use std::path::{Component, Path};

use super::{Issued, Register};
use crate::cli::thing_name;

/// Says what is wrong first.
pub(super) fn check(register: &Register) -> Result<(), String> {
    for (at, thing) in register.things.iter().enumerate() {
        let name = &thing.name;
        thing_name(name).map_err(|why| format!("of the name {name:?}: {why}"))?;
        if register.things[..at].iter().any(|other| other.name == *name) {
            return Err(format!("{name} is in it twice"));
        }
        if let Some(path) = thing.installed.as_deref().filter(|path| !is_plain(path)) {
            return Err(format!("{name} can't be installed in {path:?}; that is an absolute path without `..`"));
        }
        for issued in thing.certificates.iter().filter_map(|certificate| certificate.issued.as_ref()) {
            check_certificate(issued).map_err(|why| format!("of the certificate of {name}: {why}"))?;
        }
    }
    Ok(())
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// Id and ARN are those of one certificate: `arn:aws:iot:REGION:ACCOUNT:cert/ID`.
fn check_certificate(issued: &Issued) -> Result<(), String> {
    let Issued { id, arn } = issued;
    if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("{id:?} is no id, which has up to 64 hexadecimal digits"));
    }
    match arn.rsplit_once(":cert/") {
        Some((_, of)) if of == id => Ok(()),
        _ => Err(format!("the ARN {arn:?} is not that of {id}")),
    }
}

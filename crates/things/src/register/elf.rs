//! The `things.json` of aws-iot-elf, taken over.
//!
//! It is a list of objects with one member each, the thing's name, whose value is what CreateKeysAndCertificate has
//! answered, the private key included, and after `send` the name of a policy: `[{"thing_0": {"certificateArn": …,
//! "certificateId": …, "certificatePem": …, "keyPair": {"PublicKey": …, "PrivateKey": …}, "elf_policy": …}}]`. Keys and
//! certificates go into the things' directories, and ELF's own files of the keys are closed to others.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Certificate, FILE, Issued, Origin, Policy, Register, Thing};
use crate::files::{self, PUBLIC, SECRET};
use crate::robot::RobotFiles;
use crate::stop::Stop;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    certificate_arn: String,
    certificate_id: String,
    certificate_pem: String,
    key_pair: KeyPair,
    #[serde(rename = "elf_policy")]
    policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyPair {
    private_key: String,
}

pub(super) fn adopt(value: &Value, directory: &Path) -> Result<Register, Stop> {
    let path = directory.join(FILE);
    let foreign = |why: &str| {
        Stop::Failed(format!("{} looks like aws-iot-elf's, and {why}; move it away to start anew", path.display()))
    };
    let mut register = Register::new();
    for entry in value.as_array().into_iter().flatten() {
        let named = entry.as_object().filter(|object| object.len() == 1).and_then(|object| object.iter().next());
        let (name, entry) = named.ok_or_else(|| foreign("an entry has no name"))?;
        crate::cli::thing_name(name).map_err(|why| foreign(&format!("of the name {name:?}: {why}")))?;
        // What serde says may quote the private key.
        let entry: Entry = Entry::deserialize(entry).map_err(|_| {
            foreign(&format!(
                "the entry of {name} lacks certificateArn, certificateId, certificatePem or keyPair, or has something \
                 else than text there"
            ))
        })?;
        // arn:aws:iot:REGION:ACCOUNT:cert/ID
        let parts: Vec<&str> = entry.certificate_arn.split(':').collect();
        let [_, _, _, region, account, _] = parts[..] else {
            return Err(foreign(&format!("the certificateArn of {name} is no ARN")));
        };
        for (known, this) in [(&mut register.region, region), (&mut register.account, account)] {
            if known.get_or_insert_with(|| this.to_owned()) != this {
                return Err(foreign("its things are of several accounts or regions"));
            }
        }
        let files = RobotFiles::new(directory, name);
        let write = |path: &Path, text: &str, mode| {
            files::write(path, text.as_bytes(), mode).map_err(Stop::file("write", path))
        };
        files.make_directories()?;
        write(&files.private_key, &entry.key_pair.private_key, SECRET)?;
        write(&files.certificate, &entry.certificate_pem, PUBLIC)?;
        let theirs = directory.join(format!("{name}.prv"));
        if theirs.is_file() {
            std::fs::set_permissions(&theirs, Permissions::from_mode(SECRET)).map_err(Stop::file("close", &theirs))?;
        }
        let mut thing = Thing::new(name);
        thing.origin = Some(Origin::Made);
        thing.policies = entry.policy.iter().cloned().collect();
        let issued = Some(Issued { id: entry.certificate_id, arn: entry.certificate_arn });
        thing.certificates = vec![Certificate { issued, ..Certificate::asked_for(None) }];
        register.policies.extend(entry.policy.map(|name| Policy { name, origin: Origin::Made }));
        register.things.push(thing);
    }
    Ok(register)
}

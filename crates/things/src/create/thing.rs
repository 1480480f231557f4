//! One thing, from whatever is there of it to complete.

use super::Work;
use crate::aws::Issued as FromAws;
use crate::files::{self, PUBLIC, SECRET};
use crate::keys::{Key, Request, Unusable, mark};
use crate::register::{Certificate, Issued, Origin, Thing};
use crate::robot::RobotFiles;
use crate::stop::Stop;

pub(super) async fn make(work: &Work, name: &str) -> Result<(), Stop> {
    let files = RobotFiles::new(work.ledger.directory(), name);
    let before = work.ledger.thing(name);
    if before.complete && before.policies == work.policies.names() && files.are_there() {
        return join_groups(work, &before).await;
    }
    ensure_thing(work, name).await?;
    files.make_directories()?;
    let certificate = ensure_certificate(work, name, &files).await?;
    attach(work, name, &certificate).await?;
    files.write(&work.template.render(&work.endpoint, name)?, name, &work.root_ca)?;
    join_groups(work, &before).await?;
    work.ledger.change(|register| register.entry(name).complete = true)
}

async fn ensure_thing(work: &Work, name: &str) -> Result<(), Stop> {
    let origin = work.ledger.thing(name).origin;
    if origin == Some(Origin::Found) {
        return Ok(());
    }
    let exists = work.aws.thing_exists(name).await?;
    if exists && origin.is_none() {
        let others = work.aws.principals_of(name).await?;
        if !others.is_empty() && !work.adopt {
            return Err(Stop::Failed(format!(
                "there is a thing {name} already in the account {}, with {} of its own: it may be somebody's robot; choose \
                 another name, or give --adopt if it is yours and shall get another certificate",
                work.aws.place.account,
                crate::plural(others.len(), "certificate")
            )));
        }
    }
    let found = if exists { Origin::Found } else { Origin::Made };
    work.ledger.change(|register| register.entry(name).origin.get_or_insert(found).to_owned())?;
    if !exists {
        work.aws.create_thing(name, work.thing_type.as_deref(), &work.attributes).await?;
    }
    Ok(())
}

/// The certificate that the thing is to have; its file and that of its key are written.
async fn ensure_certificate(work: &Work, name: &str, files: &RobotFiles) -> Result<Issued, Stop> {
    let mut certificates = work.ledger.thing(name).certificates;
    if certificates.len() > 1 {
        return Err(Stop::Failed(format!(
            "{name} is about to get another certificate; `iot-bridge-things rotate {name}` goes on with that"
        )));
    }
    let last = certificates.pop();
    if let Some(Certificate { issued: Some(issued), .. }) = &last {
        return complete(work, issued, files).await;
    }
    if work.aws_keys {
        return made_by_aws(work, name, files).await;
    }
    let asked = match &last {
        Some(Certificate { mark: Some(mark), .. }) if files.private_key.is_file() => {
            let pem = std::fs::read_to_string(&files.private_key).map_err(Stop::file("read", &files.private_key))?;
            let request = Key { pem }.request(mark).map_err(|error| unusable(files, &error))?;
            last.as_ref().map(|certificate| (request, certificate.asked_at()))
        }
        _ => None,
    };
    if let Some((request, at)) = asked {
        // An answer may have been lost.
        let issued = match work.aws.find_certificate(&request, at).await? {
            Some(found) => found,
            None => work.aws.certificate_from_csr(&request).await?,
        };
        return note(work, name, issued, files);
    }
    let request = new_key(work, name, files)?;
    note(work, name, work.aws.certificate_from_csr(&request).await?, files)
}

/// Makes a key, writes it, and records that a certificate will be asked for.
fn new_key(work: &Work, name: &str, files: &RobotFiles) -> Result<Request, Stop> {
    let mark = mark(name);
    let key = Key::generate().map_err(|error| unusable(files, &error))?;
    let request = key.request(&mark).map_err(|error| unusable(files, &error))?;
    files::write(&files.private_key, key.pem.as_bytes(), SECRET).map_err(Stop::file("write", &files.private_key))?;
    work.ledger.change(|register| register.entry(name).certificates = vec![Certificate::asked_for(Some(mark))])?;
    Ok(request)
}

async fn made_by_aws(work: &Work, name: &str, files: &RobotFiles) -> Result<Issued, Stop> {
    work.ledger.change(|register| register.entry(name).certificates = vec![Certificate::asked_for(None)])?;
    let (issued, key) = work.aws.keys_and_certificate().await?;
    files::write(&files.private_key, key.pem.as_bytes(), SECRET).map_err(Stop::file("write", &files.private_key))?;
    let issued = note(work, name, issued, files)?;
    work.aws.activate_certificate(&issued.id).await?;
    Ok(issued)
}

/// Records what was issued, then writes the certificate.
fn note(work: &Work, name: &str, from_aws: FromAws, files: &RobotFiles) -> Result<Issued, Stop> {
    let issued = Issued { id: from_aws.id, arn: from_aws.arn };
    work.ledger.change(|register| {
        if let Some(certificate) = register.entry(name).certificates.last_mut() {
            certificate.issued = Some(issued.clone());
        }
    })?;
    files::write(&files.certificate, from_aws.pem.as_bytes(), PUBLIC)
        .map_err(Stop::file("write", &files.certificate))?;
    Ok(issued)
}

/// What was recorded before may lack its file, or not be active yet.
async fn complete(work: &Work, issued: &Issued, files: &RobotFiles) -> Result<Issued, Stop> {
    if !files.private_key.is_file() {
        return Err(Stop::Failed(format!(
            "the private key {} is gone, and nobody has another copy; `iot-bridge-things clean` deletes what belongs to it, \
             then make the thing again",
            files.private_key.display()
        )));
    }
    let Some(pem) = work.aws.certificate_pem(&issued.id).await? else {
        return Err(Stop::Failed(format!(
            "the certificate {} was deleted in AWS; `iot-bridge-things clean` deletes what belongs to it, then make the \
             thing again",
            issued.id
        )));
    };
    if !files.certificate.is_file() {
        files::write(&files.certificate, pem.as_bytes(), PUBLIC).map_err(Stop::file("write", &files.certificate))?;
    }
    work.aws.activate_certificate(&issued.id).await?;
    Ok(issued.clone())
}

/// Attaches policies and thing, and detaches policies of a configuration of before.
async fn attach(work: &Work, name: &str, certificate: &Issued) -> Result<(), Stop> {
    let before = work.ledger.thing(name).policies;
    let policies = work.policies.names();
    let all = before.iter().chain(policies.iter().filter(|policy| !before.contains(policy))).cloned().collect();
    work.ledger.change(|register| register.entry(name).policies = all)?;
    for policy in policies {
        work.aws.attach_policy(policy, &certificate.arn).await?;
    }
    work.aws.attach_thing(name, &certificate.arn).await?;
    for policy in before.iter().filter(|policy| !policies.contains(policy)) {
        work.aws.detach_policy(policy, &certificate.arn).await?;
    }
    work.ledger.change(|register| register.entry(name).policies = policies.to_vec())
}

async fn join_groups(work: &Work, thing: &Thing) -> Result<(), Stop> {
    for group in work.groups.iter().filter(|group| !thing.groups.contains(group)) {
        work.ledger.change(|register| register.entry(&thing.name).groups.push(group.clone()))?;
        work.aws.join_group(&thing.name, group).await?;
    }
    Ok(())
}

fn unusable(files: &RobotFiles, error: &Unusable) -> Stop {
    Stop::Failed(format!("the private key {} {error}", files.private_key.display()))
}

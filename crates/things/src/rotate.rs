//! `iot-bridge-things rotate`: another key and certificate, proven before the old one goes. Interrupted anywhere, another
//! run goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::aws::Aws;
use super::clean::{check_owner, delete_certificate};
use super::cli::AwsArgs;
use super::files::{self, PUBLIC, SECRET};
use super::keys::{Key, Unusable, mark};
use super::register::{Certificate, Issued, Ledger};
use super::robot::{self, RobotFiles};
use super::stop::Stop;
use super::template::verify;
use iot_bridge_core::config::Aws as AwsSettings;
use iot_bridge_core::mqtt::FaultKind;
use iot_bridge_core::uplink::session;

/// AWS takes some seconds until it knows a certificate and its policy everywhere.
const ATTEMPTS: u64 = 6;

pub async fn execute(name: &str, directory: &Path, aws: &AwsArgs) -> Result<(), Stop> {
    let ledger = Ledger::open(directory, false)?;
    let files = RobotFiles::new(ledger.directory(), name);
    if !ledger.thing(name).complete {
        return Err(Stop::Failed(format!(
            "{name} is not complete in things.json of {}; `iot-bridge-things create {name}` makes it so",
            directory.display()
        )));
    }
    let installed = ledger.thing(name).installed;
    // What things.json says may be of another machine, or somebody's idea. Where the robot uses other files than those
    // that can be written, it still needs the old certificate.
    if let Some(to) = installed.as_deref().filter(|to| !robot::is_installed(name, to)) {
        return Err(not_installed(name, to, &ledger));
    }
    let aws = Aws::connect(aws).await?;
    ledger.claim(&aws.place)?;
    let certificate = renew(&aws, &ledger, name, &files).await?;
    for policy in &ledger.thing(name).policies {
        aws.attach_policy(policy, &certificate.arn).await?;
    }
    aws.attach_thing(name, &certificate.arn).await?;
    prove(name, &files).await?;
    put_in_place(&files)?;
    if let Some(to) = installed {
        robot::renew(&files, name, &to)?;
    }
    retire(&aws, &ledger, name).await?;
    println!(
        "{name} has a new certificate, {}. Put it on the robot with install.sh in {}, unless this is the robot; the bridge \
         takes it with `systemctl reload iot-bridge`.",
        certificate.id,
        files.directory.display()
    );
    Ok(())
}

fn not_installed(name: &str, to: &Path, ledger: &Ledger) -> Stop {
    let to = to.display();
    Stop::Failed(format!(
        "{name} is not installed in {to} any more: the configuration there can't be loaded, which may take root, or does \
         not name {name} and its files in {to}/certs. Nothing was changed, the old certificate stays in use. \
         `iot-bridge-things create {name} --install {to}` puts it there again; if it is on another robot, take \
         \"installed\" of {name} out of {}. Then run the same command again.",
        ledger.directory().join("things.json").display()
    ))
}

/// Makes the new key and gets its certificate, as far as that is not done.
async fn renew(aws: &Aws, ledger: &Ledger, name: &str, files: &RobotFiles) -> Result<Issued, Stop> {
    let certificates = ledger.thing(name).certificates;
    let next = &files.next_private_key();
    let begun = certificates.last().filter(|_| certificates.len() > 1);
    if let Some(Certificate { issued: Some(issued), .. }) = begun {
        // Without the key of the next one it is in place already.
        if next.is_file() && !files.next_certificate().is_file() {
            let pem = aws.certificate_pem(&issued.id).await?;
            let pem =
                pem.ok_or_else(|| Stop::Failed(format!("the new certificate {} was deleted in AWS", issued.id)))?;
            write(&files.next_certificate(), &pem, PUBLIC)?;
        }
        return Ok(issued.clone());
    }
    let (request, asked) = match begun {
        Some(certificate) if next.is_file() => {
            let pem = fs::read_to_string(next).map_err(Stop::file("read", next))?;
            let mark = certificate.mark.as_deref().unwrap_or_default();
            (Key { pem }.request(mark).map_err(unusable)?, Some(certificate.asked_at()))
        }
        _ => {
            let (key, mark) = (Key::generate().map_err(unusable)?, mark(name));
            let request = key.request(&mark).map_err(unusable)?;
            write(next, &key.pem, SECRET)?;
            ledger.change(|register| register.entry(name).certificates.push(Certificate::asked_for(Some(mark))))?;
            (request, None)
        }
    };
    let found = match asked {
        Some(asked) => aws.find_certificate(&request, asked).await?,
        None => None,
    };
    let issued = match found {
        Some(found) => found,
        None => aws.certificate_from_csr(&request).await?,
    };
    let noted = Issued { id: issued.id, arn: issued.arn };
    ledger.change(|register| {
        if let Some(last) = register.entry(name).certificates.last_mut() {
            last.issued = Some(noted.clone());
        }
    })?;
    write(&files.next_certificate(), &issued.pem, PUBLIC)?;
    Ok(noted)
}

/// Connects with the new certificate.
async fn prove(name: &str, files: &RobotFiles) -> Result<(), Stop> {
    let settings = verify(&files.config)?;
    let or_in_place = |next: PathBuf, place: &PathBuf| if next.is_file() { next } else { place.clone() };
    let aws = AwsSettings {
        certificate: or_in_place(files.next_certificate(), &files.certificate),
        private_key: or_in_place(files.next_private_key(), &files.private_key),
        ..settings.aws
    };
    for attempt in 1.. {
        match session(&aws, &settings.mqtt).await {
            Ok(session) => {
                session.leave().await;
                break;
            }
            Err(fault)
                if attempt < ATTEMPTS
                    && matches!(
                        fault.kind,
                        FaultKind::Closed | FaultKind::CertificateRejected | FaultKind::NotAuthorized
                    ) =>
            {
                tokio::time::sleep(Duration::from_secs(attempt)).await;
            }
            Err(fault) => {
                return Err(Stop::Failed(format!(
                    "{name} can't connect with its new certificate: {fault}. The old one stays in use. Run the same command \
                     again once that is mended."
                )));
            }
        }
    }
    Ok(())
}

/// The new files take the place of the old ones.
fn put_in_place(files: &RobotFiles) -> Result<(), Stop> {
    for (from, to) in [(files.next_private_key(), &files.private_key), (files.next_certificate(), &files.certificate)] {
        if from.is_file() {
            fs::rename(&from, to).map_err(Stop::file("put in place", to))?;
        }
    }
    Ok(())
}

/// Deletes the certificates of before.
async fn retire(aws: &Aws, ledger: &Ledger, name: &str) -> Result<(), Stop> {
    let mut certificates = ledger.thing(name).certificates;
    let last = certificates.pop();
    for issued in certificates.iter().filter_map(|certificate| certificate.issued.as_ref()) {
        check_owner(aws, name, issued, false).await?;
        delete_certificate(aws, issued).await?;
    }
    ledger.change(|register| register.entry(name).certificates = last.into_iter().collect())
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Stop> {
    files::write(path, text.as_bytes(), mode).map_err(Stop::file("write", path))
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unusable(error: Unusable) -> Stop {
    Stop::Failed(format!("the new private key {error}"))
}

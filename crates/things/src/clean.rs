//! `iot-bridge-things clean`: what create has made, taken back in the order that AWS asks for.

mod plan;

use std::io::{self, BufRead, Write};

use self::plan::Plan;
use super::aws::Aws;
use super::cli::{AwsArgs, CleanArgs};
use super::create::delete_unused;
use super::keys::Key;
use super::register::{Certificate, Issued, Ledger, Origin, Thing};
use super::robot::RobotFiles;
use super::stop::Stop;
use super::template::DEFAULT_NAME;
use super::{files, plural};

/// What ELF calls the files of a thing, beside ours.
const ELFS: [&str; 3] = ["pem", "pub", "prv"];

pub async fn execute(arguments: CleanArgs, aws: &AwsArgs) -> Result<(), Stop> {
    let ledger = Ledger::open(&arguments.directory.output, arguments.force && !arguments.names.is_empty())?;
    let plan = Plan::new(&ledger.read(), &arguments)?;
    if plan.is_empty() {
        println!("There is nothing to delete.");
        return Ok(());
    }
    // Before anything is deleted, and before anybody is asked: is it the right account and region?
    let aws = match arguments.only_local {
        true => None,
        false => {
            let aws = Aws::connect(aws).await?;
            ledger.claim(&aws.place)?;
            Some(aws)
        }
    };
    print!("{}", plan.describe(&ledger, aws.as_ref().map(|aws| &aws.place)));
    if arguments.dry_run {
        println!("Nothing was deleted.");
        return Ok(());
    }
    if !arguments.yes && !confirmed().map_err(|error| Stop::Failed(format!("can't ask: {error}")))? {
        return Err(Stop::Failed("nothing was deleted".into()));
    }
    for name in &plan.names {
        if let Some(aws) = &aws {
            in_aws(aws, &ledger, name, arguments.force).await?;
        }
        locally(&ledger, name)?;
    }
    finish(aws.as_ref(), &ledger).await?;
    println!("Deleted: {}.", plural(plan.names.len(), "thing"));
    Ok(())
}

/// Deletes what belongs to a thing in AWS.
async fn in_aws(aws: &Aws, ledger: &Ledger, name: &str, force: bool) -> Result<(), Stop> {
    let thing = ledger.thing(name);
    let files = RobotFiles::new(ledger.directory(), name);
    for certificate in &thing.certificates {
        match issued(aws, certificate, &files).await? {
            Some(issued) => {
                check_owner(aws, name, &issued, force).await?;
                delete_certificate(aws, &issued).await?;
            }
            None if certificate.mark.is_none() => eprintln!(
                "A certificate that AWS was asked for, for {name}, may have been made and its answer lost. It is not active; \
                 look for it with: aws iot list-certificates"
            ),
            None => {}
        }
    }
    ledger.change(|register| register.entry(name).certificates.clear())?;
    match thing.origin {
        Some(Origin::Made) => delete_thing(aws, &thing, force).await,
        Some(Origin::Found) | None if force => delete_thing(aws, &thing, true).await,
        Some(Origin::Found) => {
            for group in &thing.groups {
                aws.leave_group(name, group).await?;
            }
            println!("The thing {name} stays: it was there before. --force deletes it.");
            Ok(())
        }
        None => Ok(()),
    }
}

/// What AWS calls a certificate, also if the answer was lost.
async fn issued(aws: &Aws, certificate: &Certificate, files: &RobotFiles) -> Result<Option<Issued>, Stop> {
    if let Some(issued) = &certificate.issued {
        return Ok(Some(issued.clone()));
    }
    let Some(mark) = &certificate.mark else { return Ok(None) };
    // Without a key of its own no certificate can have been asked for, but another one's key does no harm.
    let next = std::fs::read_to_string(files.next_private_key());
    let key = match next.or_else(|_| std::fs::read_to_string(&files.private_key)) {
        Ok(pem) => Key { pem },
        Err(_) => Key::generate().map_err(|error| Stop::Failed(error.to_string()))?,
    };
    let request = key.request(mark).map_err(|error| Stop::Failed(error.to_string()))?;
    let found = aws.find_certificate(&request, certificate.asked_at()).await?;
    Ok(found.map(|found| Issued { id: found.id, arn: found.arn }))
}

/// A certificate that other things use and this one does not is not this one's, whatever things.json says.
pub(super) async fn check_owner(aws: &Aws, name: &str, certificate: &Issued, force: bool) -> Result<(), Stop> {
    let things = aws.things_of(&certificate.arn).await?;
    if force || things.is_empty() || things.iter().any(|thing| thing == name) {
        return Ok(());
    }
    Err(Stop::Failed(format!(
        "the certificate {} is of {}, not of {name} as things.json says; it stays. `clean {name} --force` deletes it all the \
         same",
        certificate.id,
        things.join(", ")
    )))
}

/// Detaches everything from a certificate and deletes it.
pub(super) async fn delete_certificate(aws: &Aws, certificate: &Issued) -> Result<(), Stop> {
    for policy in aws.policies_of(&certificate.arn).await? {
        aws.detach_policy(&policy, &certificate.arn).await?;
    }
    for thing in aws.things_of(&certificate.arn).await? {
        aws.detach_thing(&thing, &certificate.arn).await?;
    }
    aws.delete_certificate(&certificate.id).await.map_err(Stop::from)
}

/// Deletes a thing. With `force` also the certificates that are still attached to it.
async fn delete_thing(aws: &Aws, thing: &Thing, force: bool) -> Result<(), Stop> {
    let name = &thing.name;
    let others = aws.principals_of(name).await?;
    if !others.is_empty() && !force {
        println!(
            "The thing {name} stays: it has {} that {} made. --force deletes all of it.",
            plural(others.len(), "certificate"),
            if others.len() == 1 { "somebody else has" } else { "others have" }
        );
        return Ok(());
    }
    for arn in others {
        match arn.rsplit_once("cert/") {
            Some((_, id)) => delete_certificate(aws, &Issued { id: id.to_owned(), arn }).await?,
            None => aws.detach_thing(name, &arn).await?,
        }
    }
    for group in &thing.groups {
        aws.leave_group(name, group).await?;
    }
    aws.delete_thing(name).await.map_err(Stop::from)
}

/// Deletes a thing's files, then its entry.
fn locally(ledger: &Ledger, name: &str) -> Result<(), Stop> {
    RobotFiles::new(ledger.directory(), name).delete()?;
    for kind in ELFS {
        let path = ledger.directory().join(format!("{name}.{kind}"));
        files::remove(&path).map_err(Stop::file("delete", &path))?;
    }
    ledger.change(|register| register.things.retain(|thing| thing.name != name))
}

/// Deletes policies that no thing has any more, and the register if it is empty.
async fn finish(aws: Option<&Aws>, ledger: &Ledger) -> Result<(), Stop> {
    let register = ledger.read();
    let used = |name: &String| register.things.iter().any(|thing| thing.policies.contains(name));
    for policy in register.policies.iter().filter(|policy| !used(&policy.name)) {
        match aws {
            Some(aws) => drop(delete_unused(aws, ledger, policy).await?),
            None => ledger.change(|register| register.policies.retain(|other| other.name != policy.name))?,
        }
    }
    if ledger.read().is_empty() {
        let default = ledger.directory().join(DEFAULT_NAME);
        if super::template::is_untouched(&default) {
            files::remove(&default).map_err(Stop::file("delete", &default))?;
        }
        ledger.delete()?;
        files::remove_directory(ledger.directory()).map_err(Stop::file("delete", ledger.directory()))?;
    }
    Ok(())
}

/// Asks on standard error. The end of the input is a no.
fn confirmed() -> io::Result<bool> {
    eprint!("It can't be brought back. Delete it? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

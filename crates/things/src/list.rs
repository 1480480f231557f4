//! `iot-bridge-things list`: what is recorded, and what AWS knows of it.

use serde::Serialize;

use super::aws::{Aws, CertificateState};
use super::cli::AwsArgs;
use super::register::{Ledger, Origin, Thing};
use super::robot::RobotFiles;
use super::stop::Stop;

/// A thing as `--json` tells it.
#[derive(Serialize)]
struct Row {
    name: String,
    /// `ready`, or what is missing.
    state: String,
    /// Whether it was there before.
    found: bool,
    certificate: Option<String>,
    certificate_state: String,
    policies: Vec<String>,
    groups: Vec<String>,
    directory: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    installed: Option<String>,
}

#[derive(Serialize)]
struct Report {
    account: String,
    region: String,
    endpoint: Option<String>,
    things: Vec<Row>,
}

pub async fn execute(directory: &std::path::Path, json: bool, aws: &AwsArgs) -> Result<(), Stop> {
    let ledger = Ledger::open(directory, false)?;
    let register = ledger.read();
    let aws = Aws::connect(aws).await?;
    ledger.claim(&aws.place)?;
    let mut things = Vec::new();
    for thing in &register.things {
        things.push(row(&aws, thing, &RobotFiles::new(directory, &thing.name)).await?);
    }
    let report = Report {
        account: aws.place.account.clone(),
        region: aws.place.region.clone(),
        endpoint: register.endpoint,
        things,
    };
    match json {
        true => println!("{}", serde_json::to_string_pretty(&report).map_err(|error| Stop::Failed(error.to_string()))?),
        false => print(&report),
    }
    Ok(())
}

async fn row(aws: &Aws, thing: &Thing, files: &RobotFiles) -> Result<Row, Stop> {
    let issued = thing.certificates.last().and_then(|certificate| certificate.issued.as_ref());
    let state = match issued {
        Some(issued) => aws.certificate_state(&issued.id).await?,
        None => CertificateState::Missing,
    };
    let (mut policies, mut attached) = (Vec::new(), false);
    if let Some(issued) = issued.filter(|_| state != CertificateState::Missing) {
        policies = aws.policies_of(&issued.arn).await?;
        attached = aws.things_of(&issued.arn).await?.contains(&thing.name);
    }
    let complete = thing.policies.iter().all(|policy| policies.contains(policy));
    Ok(Row {
        name: thing.name.clone(),
        state: match () {
            () if !aws.thing_exists(&thing.name).await? => "there is no such thing in AWS",
            () if state != CertificateState::Active => "the certificate is not active",
            () if !attached => "the certificate is not attached",
            () if !complete => "a policy is not attached",
            () if !files.are_there() => "files are missing",
            () if !thing.complete => "not complete",
            () => "ready",
        }
        .into(),
        found: thing.origin == Some(Origin::Found),
        certificate: issued.map(|issued| issued.id.clone()),
        certificate_state: match state {
            CertificateState::Active => "active".into(),
            CertificateState::Missing => "missing".into(),
            CertificateState::Other(word) => word,
        },
        policies,
        groups: thing.groups.clone(),
        directory: files.directory.display().to_string(),
        installed: thing.installed.as_ref().map(|path| path.display().to_string()),
    })
}

fn print(report: &Report) {
    println!(
        "Account {}, region {}, endpoint {}",
        report.account,
        report.region,
        report.endpoint.as_deref().unwrap_or("not asked for yet")
    );
    let width = report.things.iter().map(|row| row.name.len()).max().unwrap_or(0);
    for row in &report.things {
        let certificate = row.certificate.as_deref().map_or("none", |id| id.get(..12).unwrap_or(id));
        println!("{:width$}  {}  certificate {certificate} {}", row.name, row.state, row.certificate_state);
    }
    if report.things.iter().any(|row| row.state != "ready") {
        println!("`iot-bridge-things create` completes what is not ready; name the things.");
    }
}

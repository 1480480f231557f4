//! `iot-bridge-things policy`: prints what a configuration needs, or holds an existing policy against that.

use std::path::Path;
use std::process::ExitCode;

use super::aws;
use super::cli::{AwsArgs, PolicyArgs};
use super::policy::{Findings, Grant, Place, check, documents, fits_any_thing, grants, region_of_endpoint};
use super::stop::Stop;
use super::template::Template;
use iot_bridge_core::config::{self, Settings};

/// A configuration's grants, and what is known of where they hold.
struct Needs {
    grants: Vec<Grant>,
    /// What thing policy variables stand for, if they fit.
    thing: Option<String>,
    endpoint: Option<String>,
}

pub async fn execute(arguments: PolicyArgs, aws: &AwsArgs) -> Result<ExitCode, Stop> {
    let needs = needs(arguments.config.config.as_deref())?;
    if let Some(file) = &arguments.check {
        return hold(file, &needs);
    }
    let unknown = Place::unknown();
    let region =
        aws::region(aws).await.or_else(|| needs.endpoint.as_deref().and_then(region_of_endpoint).map(str::to_owned));
    let place =
        Place { region: region.unwrap_or(unknown.region), account: arguments.account.unwrap_or(unknown.account) };
    let documents = documents(&needs.grants, &place)?;
    for (at, document) in documents.iter().enumerate() {
        if documents.len() > 1 {
            eprintln!("Policy {} of {}:", at + 1, documents.len());
        }
        println!("{:#}", document.json());
    }
    Ok(ExitCode::SUCCESS)
}

fn needs(path: Option<&Path>) -> Result<Needs, Stop> {
    let loaded = match config::load(path, std::env::vars_os()) {
        Ok(loaded) => loaded,
        // One for a whole fleet has no [aws] of a single thing.
        Err(problems) => {
            let Some(path) = path else { return Err(problems.into()) };
            let template = Template::read(Some(path), Path::new(""))?;
            return Ok(Needs { grants: template.grants("THING")?, thing: None, endpoint: None });
        }
    };
    let Settings { aws, .. } = &loaded.settings;
    let endpoint = Some(aws.endpoint.clone());
    if !fits_any_thing(&loaded.settings) {
        return Ok(Needs { grants: grants(&loaded.settings, false)?, thing: None, endpoint });
    }
    let thing = Some(aws.thing.clone());
    Ok(Needs { grants: grants(&any_thing(path)?, false)?, thing, endpoint })
}

/// The settings for a thing of any name: the same configuration, with another thing.
fn any_thing(path: Option<&Path>) -> Result<Settings, Stop> {
    let name = super::policy::ANY_THING;
    let environment = std::env::vars_os()
        .chain(["IOT_BRIDGE_AWS__THING", "IOT_BRIDGE_AWS__CLIENT_ID"].map(|variable| (variable.into(), name.into())));
    Ok(config::load(path, environment)?.settings)
}

fn hold(file: &Path, needs: &Needs) -> Result<ExitCode, Stop> {
    let text = std::fs::read_to_string(file).map_err(Stop::file("read", file))?;
    let findings = check(&text, &needs.grants, needs.thing.as_deref())
        .map_err(|why| Stop::Failed(format!("{} can't be held against the configuration: {why}", file.display())))?;
    let Findings { too_little, too_much, not_judged } = &findings;
    let show = |title: &str, entries: &[String]| {
        if !entries.is_empty() {
            println!("{title}");
            entries.iter().for_each(|entry| println!("    {entry}"));
        }
    };
    show("Needed, and not allowed:", too_little);
    show("Allowed, and not needed:", too_much);
    show("Not judged:", not_judged);
    if findings.fits() {
        println!("The policy allows what the configuration needs, and nothing else.");
    }
    Ok(ExitCode::from(u8::from(!findings.fits())))
}

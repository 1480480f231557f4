//! `iot-bridge check`: everything that is wrong before it is run, or what the configuration amounts to.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use serde::Serialize;

use super::{EXIT_CONFIG, fail, print};
use crate::config::{self, CredentialFiles, Loaded, Problem, Settings};
use crate::uplink::tls;

/// What `check --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    problems: &'a [Problem],
    /// Files that were read, in their order.
    sources: Vec<String>,
    /// Environment variables that set something.
    variables: &'a [String],
    /// When the client certificate expires, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires: Option<u64>,
    /// The effective configuration. There are no secrets in it: keys are named by their path.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<&'a Settings>,
}

pub fn execute(config: Option<&Path>, json: bool, quiet: bool) -> ExitCode {
    let loaded = config::load(config, std::env::vars_os());
    let (mut problems, files) = match &loaded {
        Err(problems) => (problems.iter().cloned().collect(), problems.credentials.as_deref()),
        Ok(loaded) => (Vec::new(), Some(&loaded.credentials)),
    };
    let certificate_expires = files.and_then(|files| inspect(files, &mut problems));
    let credentials_checked = files.is_some();
    let loaded = loaded.ok();
    let printed = if json {
        match json_report(loaded.as_ref(), &problems, certificate_expires) {
            Ok(report) => print(report.as_bytes()),
            Err(error) => fail(&error),
        }
    } else if quiet && problems.is_empty() {
        ExitCode::SUCCESS
    } else if let (Some(loaded), true) = (&loaded, problems.is_empty()) {
        match text_report(loaded, certificate_expires) {
            Ok(report) => print(report.as_bytes()),
            Err(error) => fail(&error),
        }
    } else {
        complain(&problems, credentials_checked);
        ExitCode::SUCCESS
    };
    if problems.is_empty() { printed } else { ExitCode::from(EXIT_CONFIG) }
}

/// Adds what is wrong with certificate, key and authorities to `problems`; answers when the certificate expires.
fn inspect(files: &CredentialFiles, problems: &mut Vec<Problem>) -> Option<SystemTime> {
    let inspection = tls::inspect(&files.aws, SystemTime::now());
    problems.extend(
        inspection
            .problems
            .iter()
            .map(|problem| files.problem(problem.key(), format!("that {problem}"), problem.remedy().to_owned())),
    );
    inspection.certificate_expires
}

fn json_report(
    loaded: Option<&Loaded>,
    problems: &[Problem],
    certificate_expires: Option<SystemTime>,
) -> serde_json::Result<String> {
    let report = Report {
        ok: problems.is_empty(),
        problems,
        sources: loaded.iter().flat_map(|loaded| &loaded.sources).map(|path| path.display().to_string()).collect(),
        variables: loaded.map_or(&[], |loaded| &loaded.variables),
        certificate_expires: certificate_expires
            .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map(|since| since.as_secs()),
        settings: loaded.map(|loaded| &loaded.settings),
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// Says what is wrong, on standard error.
fn complain(problems: &[Problem], credentials_checked: bool) {
    for problem in problems {
        eprintln!("{problem}");
    }
    let count = problems.len();
    eprintln!("\n{count} {} to mend.", if count == 1 { "problem is" } else { "problems are" });
    if !credentials_checked {
        eprintln!("The certificate and its key are checked once these are mended.");
    }
}

/// The effective configuration, as a configuration file that says where it comes from.
fn text_report(loaded: &Loaded, certificate_expires: Option<SystemTime>) -> anyhow::Result<String> {
    let mut text = String::new();
    for source in &loaded.sources {
        writeln!(text, "# from {}", source.display())?;
    }
    for variable in &loaded.variables {
        writeln!(text, "# from the environment: {variable}")?;
    }
    writeln!(text, "\n{}", loaded.settings.to_toml()?)?;
    if let Some(left) = certificate_expires.and_then(|at| at.duration_since(SystemTime::now()).ok()) {
        writeln!(text, "# The client certificate is valid for another {} days.", left.as_secs() / 86_400)?;
    }
    writeln!(text, "# The configuration is valid.")?;
    Ok(text)
}

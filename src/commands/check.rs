//! `iot-bridge check`: everything that is wrong before it is run, or what the configuration amounts to.

mod connect;
mod eyes;
mod graph;
mod paths;
mod remote;
mod requests;
mod secrets;

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{EXIT_CONFIG, distribution, fail, print};
use crate::health::logging;
use crate::ros::BUILT_FOR;
use connect::Trial;
pub use connect::Wish;
use graph::Graph;
use iot_bridge_core::accounts;
use iot_bridge_core::config::{
    self, CREDENTIALS_DIRECTORY, CredentialFiles, Loaded, Problem, ProxyFileProblem, ProxySource, Settings,
};
use iot_bridge_core::mqtt::tls;
use iot_bridge_core::provisioning::{self, Standing};
use iot_bridge_core::uplink::broker;
use paths::Compared;
use remote::Remote;

/// What `check --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    problems: &'a [Problem],
    /// What is valid and perhaps not meant, each a sentence without its full stop.
    warnings: Vec<String>,
    /// Files that were read, in their order.
    sources: Vec<String>,
    /// Environment variables that set something.
    variables: &'a [String],
    /// How it stands with the provisioning that the configuration asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    provisioning: Option<Provisioning>,
    /// When the client certificate expires, seconds since 1970; of a robot that waits for its own, that of the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires: Option<u64>,
    /// Keys whose files only the service sees, and that therefore were not looked at.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unseen: &'a [&'static str],
    ros: Ros,
    /// What comes from the cloud, if the configuration takes any of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<&'a Remote>,
    /// What patterns find on the ROS graph, if there are any and the configuration is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    graph: Option<&'a Graph>,
    /// What came of the connection, if one was asked for and the configuration is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a Trial>,
    /// The effective configuration, without secrets: keys are named by their path.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<&'a Settings>,
    /// SHA-256 of the effective configuration, as the bridge reports it to the cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
}

/// The ROS distribution.
#[derive(Serialize)]
struct Ros {
    /// That of the build.
    built_for: &'static str,
    /// What `ROS_DISTRO` says.
    sourced: Option<String>,
    /// What somebody should know of the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    doubt: Option<String>,
}

/// How it stands with provisioning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Provisioning {
    /// There is a certificate. The name of its thing is known if it comes from provisioning.
    Done { thing: Option<String> },
    /// The bridge asks for the certificate when it is started.
    Waiting,
}

/// What a look at the files that `[aws]` names has found.
struct Files {
    provisioning: Option<Provisioning>,
    /// Of the certificate that the bridge connects with next.
    expires: Option<SystemTime>,
    /// Keys whose files only the service sees.
    unseen: Vec<&'static str>,
}

/// All that is wrong, and what else is known.
struct Findings {
    /// What the files say, and the environment.
    local: Option<Loaded>,
    /// What is in force where something comes from the cloud.
    with_cloud: Option<Loaded>,
    remote: Option<Remote>,
    /// With the configuration itself, and with the ROS distribution: what `run` refuses to start with.
    of_configuration: Vec<Problem>,
    /// With the files that it names.
    of_files: Vec<Problem>,
    /// Of the files; `None` if the configuration does not tell which.
    files: Option<Files>,
    /// What somebody should know of the ROS distribution.
    doubt: Option<String>,
}

fn find(config: Option<&Path>) -> Findings {
    let loaded = config::load(config, std::env::vars_os());
    let (mut of_configuration, files) = match &loaded {
        Err(error) => (error.problems.iter().cloned().collect(), error.credentials.as_deref()),
        Ok(loaded) => (Vec::new(), Some(&loaded.credentials)),
    };
    let (files, mut of_files) = match files.map(|files| inspect(files, &of_configuration)) {
        Some((files, problems)) => (Some(files), problems),
        None => (None, Vec::new()),
    };
    let doubt = distribution::sourced().unwrap_or_else(|problem| {
        of_configuration.push(problem);
        None
    });
    let loaded = loaded.ok();
    if let (Some(loaded), Some(Files { provisioning: Some(Provisioning::Done { thing: Some(thing) }), .. })) =
        (&loaded, &files)
    {
        of_files.extend(unfit_topics(loaded, thing));
    }
    let (remote, with_cloud) = match loaded.as_ref().and_then(|local| remote::look(config, local)) {
        Some((remote, loaded)) => (Some(remote), loaded),
        None => (None, None),
    };
    Findings { local: loaded, with_cloud, remote, of_configuration, of_files, files, doubt }
}

/// What the unit asks for beside `run`: problems with files in the journal, and an exit status that counts all of them.
pub fn beside_run(config: Option<&Path>) -> ExitCode {
    let Findings { of_configuration, of_files, .. } = find(config);
    logging::start();
    logging::problems(&of_files);
    if of_configuration.is_empty() && of_files.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIG) }
}

pub fn execute(config: Option<&Path>, wish: Option<Wish>, json: bool, quiet: bool) -> ExitCode {
    let Findings { local, with_cloud, remote, of_configuration, of_files, files: found, doubt } = find(config);
    let credentials_checked = found.is_some();
    // What files say in the place of what comes from the cloud has to be right as well: it may come back.
    let mut compared = Compared::default();
    local.iter().chain(&with_cloud).for_each(|loaded| compared.add(of_types(loaded)));
    let problems = [of_configuration, compared.problems, of_files].concat();
    let loaded = with_cloud.or(local);
    let warnings = loaded.iter().flat_map(|loaded| warnings(loaded, found.as_ref()));
    let of_remote = remote.iter().flat_map(Remote::warnings);
    let warnings: Vec<String> = warnings.chain(of_remote).chain(compared.unseen).collect();
    let settings = loaded.as_ref().map(|loaded| &loaded.settings).filter(|_| problems.is_empty() && !quiet);
    let graph = settings.and_then(graph::look);
    let trial = match try_out(wish, loaded.as_ref().filter(|_| problems.is_empty()), found.as_ref()) {
        Ok(trial) => trial,
        Err(error) => return fail(&format!("the connection could not be tried: {error:#}")),
    };
    let known =
        Known { found: found.as_ref(), remote: remote.as_ref(), doubt, graph: graph.as_ref(), trial: trial.as_ref() };
    let printed = if json {
        match json_report(loaded.as_ref(), &problems, warnings, known) {
            Ok(report) => print(report.as_bytes()),
            Err(error) => fail(&error),
        }
    } else if quiet && problems.is_empty() {
        ExitCode::SUCCESS
    } else if let (Some(loaded), true) = (&loaded, problems.is_empty()) {
        match text_report(loaded, warnings, known) {
            Ok(report) => print(report.as_bytes()),
            Err(error) => fail(&error),
        }
    } else {
        complain(&problems, credentials_checked, wish.is_some());
        ExitCode::SUCCESS
    };
    if !problems.is_empty() {
        return ExitCode::from(EXIT_CONFIG);
    }
    match trial {
        Some(trial) if !trial.ok => {
            if let Some(complaint) = trial.complaint(quiet).filter(|_| !json) {
                eprintln!("{complaint}");
            }
            trial.exit()
        }
        _ => printed,
    }
}

/// Makes the connection that `wish` asks for, if the configuration is one to connect with.
fn try_out(wish: Option<Wish>, loaded: Option<&Loaded>, found: Option<&Files>) -> anyhow::Result<Option<Trial>> {
    let (Some(wish), Some(loaded), Some(found)) = (wish, loaded, found) else { return Ok(None) };
    if let Some(key) = found.unseen.first() {
        anyhow::bail!(
            "systemd shows {key} to the service alone (LoadCredential=); how the service's own connection is, `iot-bridge \
             status` tells"
        );
    }
    let is_waiting = found.provisioning == Some(Provisioning::Waiting);
    Ok(Some(connect::connect(&loaded.settings, is_waiting, wish)?))
}

/// What is wrong with certificate, key and authorities: with those of the claim, where the robot has none of its own yet.
/// Keys that have no value, or one that is `reported`, are left to that.
fn inspect(files: &CredentialFiles, reported: &[Problem]) -> (Files, Vec<Problem>) {
    let mut problems = Vec::new();
    let is_left = |key: &str| files.missing.contains(&key) || reported.iter().any(|problem| problem.key == key);
    let mut aws = files.aws.clone();
    let provisioning = provisioning::standing(&aws).map(|standing| match standing {
        Standing::Done(registered) => Provisioning::Done { thing: registered.map(|registered| registered.thing) },
        Standing::Waiting => Provisioning::Waiting,
    });
    let is_waiting = provisioning == Some(Provisioning::Waiting);
    if let Some(claim) = aws.provisioning.as_ref().filter(|_| is_waiting) {
        (aws.certificate, aws.private_key) = (claim.claim_certificate.clone(), claim.claim_private_key.clone());
    }
    if provisioning == Some(Provisioning::Done { thing: None }) && !aws.is_named() && !is_left("aws.thing") {
        let allowed =
            "allowed is the name of a thing: the certificate does not come from provisioning, which would say it";
        problems.push(files.problem("aws.thing", "nothing".into(), allowed.into()));
    }
    let inspection = tls::inspect(&broker(&aws), SystemTime::now());
    let unseen = unseen(files, is_waiting);
    let found = inspection.problems.iter().map(|problem| {
        let key = match problem.key() {
            "aws.certificate" if is_waiting => "aws.provisioning.claim_certificate",
            "aws.private_key" if is_waiting => "aws.provisioning.claim_private_key",
            key => key,
        };
        let remedy = eyes::remedy(problem).unwrap_or_else(|| problem.remedy());
        files.problem(key, format!("that {problem}"), remedy)
    });
    problems.extend(found.filter(|problem| !unseen.contains(&problem.key.as_str()) && !is_left(&problem.key)));
    if let Some(url_file) = files.proxy_file.as_ref().filter(|_| !unseen.contains(&PROXY_FILE))
        && let Err(problem) = (ProxySource::File { url_file: url_file.clone() }).proxy()
    {
        let allowed = match &problem {
            ProxyFileProblem::Unreadable { path, source } if source.kind() == ErrorKind::PermissionDenied => {
                accounts::permission(path)
            }
            _ => "allowed is a file that the service can read, with a URL such as \"http://proxy:3128\"".to_owned(),
        };
        problems.push(files.problem(PROXY_FILE, format!("that {problem}"), allowed));
    }
    problems.extend(eyes::inspect(files));
    problems.extend(secrets::inspect(files));
    (Files { provisioning, expires: inspection.certificate_expires, unseen }, problems)
}

/// A problem for each MQTT topic that only with the name of the `thing` from provisioning is none for AWS IoT Core.
fn unfit_topics(loaded: &Loaded, thing: &str) -> Vec<Problem> {
    let settings = &loaded.settings;
    let Settings { mqtt, topics, .. } = settings;
    let will = mqtt.last_will.iter().map(|will| will.topic.as_str());
    let presence = mqtt.presence.iter().map(|presence| presence.topic.as_str());
    let topics = topics.iter().flat_map(config::Topic::mqtt_topics);
    let own = will.chain(presence).chain(settings.asked()).map(str::to_owned);
    let all: Vec<String> = own.chain(topics).chain(settings.answered()).collect();
    let faults = all.iter().filter_map(|topic| {
        let whole = config::fill_thing(topic, thing);
        Some((config::check_publish_topic(&whole).err()?, topic))
    });
    let problem = |(fault, topic)| {
        let found = format!("the thing {thing} from provisioning, with which {topic} is no topic: {fault}");
        loaded.credentials.problem("aws.thing", found, "choose a shorter topic".into())
    };
    faults.map(problem).collect()
}

const PROXY_FILE: &str = "mqtt.proxy.url_file";

/// The keys that name credentials of systemd's, where it has told nobody of their directory.
fn unseen(files: &CredentialFiles, is_waiting: bool) -> Vec<&'static str> {
    let CredentialFiles { aws, proxy_file, .. } = files;
    let claim = aws.provisioning.as_ref().filter(|_| is_waiting);
    let own = Some(aws).filter(|_| !is_waiting);
    [
        ("aws.certificate", own.map(|aws| &aws.certificate)),
        ("aws.private_key", own.map(|aws| &aws.private_key)),
        ("aws.root_ca", aws.root_ca.as_ref()),
        ("aws.provisioning.claim_certificate", claim.map(|claim| &claim.claim_certificate)),
        ("aws.provisioning.claim_private_key", claim.map(|claim| &claim.claim_private_key)),
        (PROXY_FILE, proxy_file.as_ref()),
    ]
    .into_iter()
    .filter(|(_, path)| path.is_some_and(|path| path.starts_with(CREDENTIALS_DIRECTORY)))
    .map(|(key, _)| key)
    .collect()
}

/// What is known beside the configuration.
struct Known<'a> {
    found: Option<&'a Files>,
    remote: Option<&'a Remote>,
    doubt: Option<String>,
    graph: Option<&'a Graph>,
    trial: Option<&'a Trial>,
}

fn json_report(
    loaded: Option<&Loaded>,
    problems: &[Problem],
    warnings: Vec<String>,
    Known { found, remote, doubt, graph, trial }: Known<'_>,
) -> serde_json::Result<String> {
    let report = Report {
        ok: problems.is_empty(),
        problems,
        warnings,
        sources: loaded.iter().flat_map(|loaded| &loaded.sources).map(|path| path.display().to_string()).collect(),
        variables: loaded.map_or(&[], |loaded| &loaded.variables),
        provisioning: found.and_then(|found| found.provisioning.clone()),
        certificate_expires: found
            .and_then(|found| found.expires)
            .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map(|since| since.as_secs()),
        unseen: found.map_or(&[], |found| &found.unseen),
        ros: Ros { built_for: BUILT_FOR, sourced: std::env::var("ROS_DISTRO").ok(), doubt },
        remote,
        graph,
        connection: trial,
        settings: loaded.map(|loaded| &loaded.settings),
        digest: loaded.map(|loaded| loaded.digest.as_str()),
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// Says what is wrong, on standard error.
fn complain(problems: &[Problem], credentials_checked: bool, to_connect: bool) {
    for problem in problems {
        eprintln!("{problem}");
    }
    let count = problems.len();
    eprintln!("\n{count} {} to mend.", if count == 1 { "problem" } else { "problems" });
    if !credentials_checked {
        eprintln!("The certificate and its key are checked once these are mended.");
    }
    if to_connect {
        eprintln!("No connection was tried: what it would be made with has to be right first.");
    }
}

/// The effective configuration, as a configuration file that says where it comes from.
fn text_report(
    loaded: &Loaded,
    warnings: Vec<String>,
    Known { found, remote, doubt, graph, trial }: Known<'_>,
) -> anyhow::Result<String> {
    let mut text = String::new();
    for source in &loaded.sources {
        writeln!(text, "# from {}", source.display())?;
    }
    for variable in &loaded.variables {
        writeln!(text, "# from the environment: {variable}")?;
    }
    for source in remote.iter().flat_map(|remote| remote.sources()) {
        writeln!(text, "# {source}")?;
    }
    writeln!(text, "\n{}", loaded.settings.to_toml()?)?;
    if let Some(remote) = remote {
        write!(text, "{remote}")?;
        writeln!(text, "# Its digest, as it is reported, is {}.", loaded.digest)?;
    }
    let provisioning = found.and_then(|found| found.provisioning.as_ref());
    let mut whose = "client";
    match provisioning {
        Some(Provisioning::Waiting) => {
            whose = "claim";
            writeln!(
                text,
                "# The robot is not provisioned yet: it asks for its certificate when the bridge is started."
            )?;
        }
        Some(Provisioning::Done { thing: Some(thing) }) => {
            writeln!(text, "# The robot is provisioned as the thing {thing}.")?;
        }
        Some(Provisioning::Done { thing: None }) | None => {}
    }
    if let Some(left) = found.and_then(|found| found.expires).and_then(|at| at.duration_since(SystemTime::now()).ok()) {
        writeln!(text, "# The {whose} certificate is valid for another {}.", days(left))?;
    }
    for key in found.iter().flat_map(|found| &found.unseen) {
        writeln!(text, "# Not looked at: {key}, which systemd shows to the service alone (LoadCredential=).")?;
    }
    for warning in warnings.into_iter().chain(doubt) {
        writeln!(text, "# {warning}.")?;
    }
    if let Some(graph) = graph {
        write!(text, "{graph}")?;
    }
    writeln!(text, "# The configuration is valid.")?;
    if let Some(trial) = trial {
        write!(text, "\n{}", trial.lines())?;
    }
    Ok(text)
}

/// What is wrong with `loaded` beside the types of ROS, as far as these are sourced.
pub(super) fn compare(loaded: &Loaded) -> Vec<Problem> {
    of_types(loaded).problems
}

/// What is wrong beside the types of ROS, and what could not be looked at.
fn of_types(loaded: &Loaded) -> Compared {
    let mut compared = paths::inspect(loaded);
    compared.add(requests::inspect(loaded));
    compared
}

/// What is valid and perhaps not meant, each a sentence without its full stop.
fn warnings(loaded: &Loaded, found: Option<&Files>) -> Vec<String> {
    let Settings { aws, topics, .. } = &loaded.settings;
    let mut warnings = Vec::new();
    if let Some(Files { provisioning: Some(Provisioning::Done { thing: Some(thing) }), .. }) = found
        && aws.is_named()
        && aws.thing != *thing
    {
        warnings.push(format!("aws.thing is {}, which stays in force; better leave it out", aws.thing));
    }
    for config::Topic { ros, mqtt, .. } in topics.iter().filter(|topic| topic.mqtt.starts_with('/')) {
        warnings.push(format!("{ros} goes to {mqtt}, whose first slash makes a first level without a name"));
    }
    warnings.extend(loaded.settings.rates_over_quota());
    warnings.extend(loaded.settings.cautions());
    for config::Topic { ros, mqtt, .. } in topics.iter().filter(|topic| topic.merges()) {
        warnings.push(format!(
            "different topics of {ros} may go to one MQTT topic, {mqtt}; {{ros}} in `mqtt` makes it each topic's own"
        ));
    }
    warnings
}

fn days(left: Duration) -> String {
    match left.as_secs() / 86_400 {
        0 => "few hours".to_owned(),
        1 => "day".to_owned(),
        days => format!("{days} days"),
    }
}

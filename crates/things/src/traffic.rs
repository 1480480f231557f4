//! `iot-bridge-things send` and `subscribe`: each thing with its own certificate, all at the same time.

mod advice;
mod send;
mod subscribe;

pub use send::execute as send;
pub use subscribe::execute as subscribe;

use advice::advice;

use super::cli::TrafficArgs;
use super::register::{Ledger, Register};
use super::robot::RobotFiles;
use super::stop::Stop;
use super::template::verify;
use iot_bridge_core::config::{Qos, Settings, check_publish_topic};
use iot_bridge_core::mqtt::Fault;
use iot_bridge_core::mqtt::session::Session;
use iot_bridge_core::uplink::session;

/// A thing that takes part.
struct Participant {
    name: String,
    settings: Settings,
    topic: String,
    qos: Qos,
}

/// The things that the command line asks for, each with its configuration. `publish`: whether they publish to their
/// topics; subscribers may use wildcards.
fn participants(arguments: &TrafficArgs, publish: bool) -> Result<Vec<Participant>, Stop> {
    let ledger = Ledger::open(&arguments.directory.output, false)?;
    let register = ledger.read();
    let names = names(&register, arguments)?;
    names
        .into_iter()
        .map(|name| {
            let files = RobotFiles::new(ledger.directory(), &name);
            if register.thing(&name).is_none_or(|thing| !thing.complete) || !files.config.is_file() {
                return Err(Stop::Failed(format!(
                    "{name} is not complete; `iot-bridge-things create` goes on with it"
                )));
            }
            let topic = topic(arguments, &name);
            if publish {
                check_publish_topic(&topic).map_err(|fault| Stop::Usage(format!("--topic: {topic:?}: {fault}")))?;
            }
            let qos = if arguments.qos == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
            Ok(Participant { settings: verify(&files.config)?, topic, qos, name })
        })
        .collect()
}

fn names(register: &Register, arguments: &TrafficArgs) -> Result<Vec<String>, Stop> {
    if let Some(unknown) = arguments.thing.iter().find(|name| register.thing(name).is_none()) {
        return Err(Stop::Failed(format!(
            "{unknown} is not in things.json of {}; `iot-bridge-things list` shows the things",
            arguments.directory.output.display()
        )));
    }
    let names: Vec<String> = match arguments.thing.is_empty() {
        true => register.things.iter().map(|thing| thing.name.clone()).collect(),
        false => arguments.thing.clone(),
    };
    match names.is_empty() {
        true => Err(Stop::Failed("there are no things; `iot-bridge-things create` makes them".into())),
        false => Ok(names),
    }
}

fn topic(arguments: &TrafficArgs, thing: &str) -> String {
    let topic = arguments.topic.replace("{thing}", thing);
    if arguments.append_thing_name { format!("{topic}/{thing}") } else { topic }
}

impl Participant {
    async fn connect(&self) -> Result<Session, String> {
        let connected = session(&self.settings.aws, &self.settings.mqtt).await;
        connected.map_err(|fault| self.words("can't connect", &fault, false))
    }

    /// What went wrong, and what to do.
    fn words(&self, what: &str, fault: &Fault, connected: bool) -> String {
        format!("{}: {what}: {fault}{}", self.name, advice(fault.kind, connected.then_some(self.topic.as_str())))
    }
}

/// Says what went wrong with each, if anything did.
fn end(failures: &[String], of: usize) -> Result<(), Stop> {
    for failure in failures {
        eprintln!("{failure}");
    }
    match failures.len() {
        0 => Ok(()),
        failed => Err(Stop::Failed(format!("{failed} of {} failed", super::plural(of, "thing")))),
    }
}

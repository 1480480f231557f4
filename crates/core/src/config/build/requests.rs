//! What the cloud may ask: `[[commands]]`, `[[services]]`, `[[actions]]`, `[[shadows]]`.

use std::collections::HashMap;

use super::{qos, thing, word};
use crate::config::limits::MAX_FILTERS;
use crate::config::mqtt_topic::{check_publish_topic, is_basic_ingest};
use crate::config::problem::quote;
use crate::config::ros_names;
use crate::config::settings::{
    Action, Command, CommandPayload, FEEDBACK, Mqtt, OnSilence, REPLY, Remote, Requested, STRING_TYPE, Service, Shadow,
    Topic, asked,
};
use crate::config::template::{Names, expand, may_become};
use crate::config::units::format_duration;
use crate::config::walk::{Report, Section};

/// All of it.
pub(super) struct Requests {
    pub commands: Vec<Command>,
    pub services: Vec<Service>,
    pub actions: Vec<Action>,
    pub shadows: Vec<Shadow>,
}

/// An MQTT topic that an entry has.
pub(super) struct Place<'a> {
    pub section: &'a Section,
    /// The key that says it.
    pub key: &'static str,
    pub topic: String,
}

/// Builds the four sections. Returns `None` if the report holds a problem.
pub(super) fn requests(remote: Option<&Remote>, root: &Section, report: &mut Report<'_>) -> Option<Requests> {
    let commands = entries(root, "commands", report, command);
    let services = entries(root, "services", report, service);
    let actions = entries(root, "actions", report, action);
    let shadows = entries(root, "shadows", report, shadow);
    let requests = Requests { commands: commands?, services: services?, actions: actions?, shadows: shadows? };
    check_topics(&requests, root, report);
    check_types(&requests, root, report);
    check_names(&requests, remote, root, report);
    check_filters(remote, root, report);
    Some(requests)
}

/// What `entry` makes of each table of the list `name`.
fn entries<T>(
    root: &Section,
    name: &str,
    report: &mut Report<'_>,
    entry: fn(&Entry<'_>, &mut Report<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    // Each is looked at, also behind one with a fault.
    let built: Vec<_> = root.list(name).iter().map(|section| entry(&Entry { section, root }, report)).collect();
    built.into_iter().collect()
}

/// A table of one of the lists.
struct Entry<'a> {
    section: &'a Section,
    root: &'a Section,
}

impl Entry<'_> {
    fn refuse(&self, report: &mut Report<'_>, key: &str, found: &str, allowed: String) {
        report.add(self.section.tag_of(key), &self.section.key_of(key), found.to_owned(), allowed);
    }

    /// The absolute name in ROS that stands under `key`.
    fn ros(&self, key: &str, report: &mut Report<'_>) -> Option<String> {
        let name = self.section.text(key)?;
        let namespace = self.root.text("ros.namespace").unwrap_or_default().trim_end_matches('/');
        let absolute = ros_names::resolve(name, namespace);
        absolute.map_err(|allowed| self.refuse(report, key, &quote(name), allowed)).ok()
    }

    /// The MQTT topic that the template under `key` makes for `ros`. None is AWS's own; only replies may go past the broker.
    fn mqtt(&self, key: &str, ros: Option<&str>, report: &mut Report<'_>) -> Option<String> {
        let template = self.section.text(key)?;
        // Where there is a fault with the name, the template is looked at all the same.
        let ros = ros.unwrap_or("/a");
        let names = Names { thing: thing(self.root), ros, type_name: self.section.text("type") };
        let topic = expand(template, &names).and_then(|topic| match topic.starts_with('$') {
            true if key == "reply" && is_basic_ingest(&topic) => Ok(topic),
            true => Err("topics that start with `$` are AWS IoT Core's own; choose another".to_owned()),
            false => Ok(topic),
        });
        topic.map_err(|allowed| self.refuse(report, key, &quote(template), allowed)).ok()
    }

    /// The topic that `mqtt` becomes with `suffix`, for replies.
    fn mqtt_and(&self, mqtt: &str, suffix: &str, remedy: &str, report: &mut Report<'_>) -> Option<String> {
        let topic = format!("{mqtt}{suffix}");
        let fault = check_publish_topic(&topic).err();
        if let Some(fault) = &fault {
            let allowed = format!("what is answered goes to {topic:?}: {fault}; {remedy}");
            self.refuse(report, "mqtt", &quote(mqtt), allowed);
        }
        fault.is_none().then_some(topic)
    }
}

fn command(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Command> {
    let section = entry.section;
    let payload = section.text("payload").and_then(word::<CommandPayload>);
    if let (Some(age), Some(CommandPayload::Message)) = (section.duration("max_age"), payload) {
        let allowed = "it needs payload = \"envelope\", whose `sent` says when a command was sent".to_owned();
        entry.refuse(report, "max_age", &quote(&format_duration(age)), allowed);
    }
    let ros = entry.ros("ros", report);
    let mqtt = entry.mqtt("mqtt", ros.as_deref(), report);
    let reply = entry.mqtt("reply", ros.as_deref(), report);
    if section.is_there("reply") && reply.is_none() {
        return None;
    }
    let on_silence = section
        .duration("on_silence.after")
        .map(|after| OnSilence { after, message: section.message("on_silence.message").cloned().unwrap_or_default() });
    Some(Command {
        mqtt: mqtt?,
        ros: ros?,
        type_name: section.text("type")?.to_owned(),
        payload: payload?,
        qos: qos(section.integer("qos")?),
        max_rate: section.rate("max_rate"),
        max_age: section.duration("max_age"),
        limits: section.limits("limits"),
        on_silence,
        reply,
    })
}

fn service(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Service> {
    let section = entry.section;
    let service = entry.ros("service", report);
    let mqtt = entry.mqtt("mqtt", service.as_deref(), report);
    let reply = match section.is_there("reply") {
        true => entry.mqtt("reply", service.as_deref(), report),
        false => entry.mqtt_and(mqtt.as_deref()?, REPLY, "choose a shorter one, or set `reply`", report),
    };
    Some(Service {
        mqtt: mqtt?,
        service: service?,
        type_name: section.text("type")?.to_owned(),
        timeout: section.duration("timeout")?,
        reply: reply?,
    })
}

fn action(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Action> {
    let section = entry.section;
    let action = entry.ros("action", report);
    let mqtt = entry.mqtt("mqtt", action.as_deref(), report)?;
    // The longer one of the two.
    entry.mqtt_and(&mqtt, FEEDBACK, "choose a shorter one", report)?;
    let type_name = section.text("type")?.to_owned();
    Some(Action { mqtt, action: action?, type_name, feedback_rate: section.rate("feedback_rate") })
}

fn shadow(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Shadow> {
    let section = entry.section;
    for (key, needs) in [("report_rate", "report"), ("desired_type", "desired")] {
        if section.is_written(key) && !section.is_there(needs) {
            entry.refuse(report, key, "it alone", format!("it needs `{needs}` beside it"));
        }
    }
    let (of_report, of_desired) = (section.text("report"), section.text("desired"));
    let (report_to, desired) = (entry.ros("report", report), entry.ros("desired", report));
    if of_report.is_some() != report_to.is_some() || of_desired.is_some() != desired.is_some() {
        return None;
    }
    if let (Some(topic), true) = (&desired, report_to == desired) {
        let allowed = "allowed is another topic than `report`: what is wished for would be reported as if it were so";
        entry.refuse(report, "desired", &quote(topic), allowed.to_owned());
    }
    Some(Shadow {
        name: section.text("name")?.to_owned(),
        report_rate: section.rate("report_rate").filter(|_| report_to.is_some()),
        report: report_to,
        desired,
        desired_type: section.text("desired_type").map(str::to_owned),
    })
}

impl Requests {
    /// The entries with the topics of their requests, in the order of the lists.
    fn asked<'a>(&self, root: &'a Section) -> Vec<Place<'a>> {
        let sections = ["commands", "services", "actions"].into_iter().flat_map(|list| root.list(list));
        sections
            .zip(asked(&self.commands, &self.services, &self.actions))
            .map(|(section, topic)| Place { section, key: "mqtt", topic: topic.to_owned() })
            .collect()
    }

    /// What patterns leave alone.
    pub fn requested(&self) -> Requested {
        let ros = self.commands.iter().map(|command| &command.ros);
        let ros = ros.chain(self.shadows.iter().filter_map(|shadow| shadow.desired.as_ref()));
        Requested {
            ros: ros.cloned().collect(),
            mqtt: asked(&self.commands, &self.services, &self.actions).map(str::to_owned).collect(),
        }
    }

    /// Where what is answered goes.
    pub fn answered<'a>(&self, root: &'a Section) -> Vec<Place<'a>> {
        let mut places = Vec::new();
        for (section, command) in root.list("commands").iter().zip(&self.commands) {
            places.extend(command.reply.iter().map(|topic| Place { section, key: "reply", topic: topic.clone() }));
        }
        for (section, service) in root.list("services").iter().zip(&self.services) {
            let key = if section.is_there("reply") { "reply" } else { "mqtt" };
            places.push(Place { section, key, topic: service.reply.clone() });
        }
        for (section, action) in root.list("actions").iter().zip(&self.actions) {
            let topics = [action.reply(), action.feedback()];
            places.extend(topics.map(|topic| Place { section, key: "mqtt", topic }));
        }
        places
    }
}

/// One topic has one entry that takes its messages, and no answer comes to it.
fn check_topics(requests: &Requests, root: &Section, report: &mut Report<'_>) {
    let mut known: HashMap<String, &Section> = HashMap::new();
    for Place { section, key, topic } in requests.asked(root) {
        match known.get(&topic) {
            Some(first) => {
                let allowed = format!("{} of {} takes what comes there", first.key, report.source(first.tag));
                report.add(section.tag_of(key), &section.key_of(key), quote(&topic), allowed);
            }
            None => _ = known.insert(topic, section),
        }
    }
    for Place { section, key, topic } in requests.answered(root) {
        if let Some(asked) = known.get(&topic) {
            let found = format!("an answer on {}", quote(&topic));
            let allowed = format!("{}, and would take it for a request", comes_back(asked, report));
            report.add(section.tag_of(key), &section.key_of(key), found, allowed);
        }
    }
}

/// The words for a topic that `asked` takes.
fn comes_back(asked: &Section, report: &Report<'_>) -> String {
    format!("choose another topic: {} of {} takes what comes there", asked.key, report.source(asked.tag))
}

/// On one ROS topic all messages that the cloud causes are of one type.
fn check_types(requests: &Requests, root: &Section, report: &mut Report<'_>) {
    let commands = root.list("commands").iter().zip(&requests.commands);
    let commands = commands.map(|(section, command)| (section, "type", &command.ros, command.type_name.as_str()));
    let shadows = root.list("shadows").iter().zip(&requests.shadows).filter_map(|(section, shadow)| {
        let type_name = shadow.desired_type.as_deref().unwrap_or(STRING_TYPE);
        let key = if shadow.desired_type.is_some() { "desired_type" } else { "desired" };
        Some((section, key, shadow.desired.as_ref()?, type_name))
    });
    let mut known: HashMap<&str, (&Section, &str)> = HashMap::new();
    for (section, key, ros, type_name) in commands.chain(shadows) {
        let (first, wanted) = *known.entry(ros).or_insert((section, type_name));
        if wanted != type_name {
            let allowed = format!(
                "allowed is the type that {} of {} gives {ros}: {wanted:?}",
                first.key,
                report.source(first.tag)
            );
            report.add(section.tag_of(key), &section.key_of(key), quote(type_name), allowed);
        }
    }
}

/// Each shadow has one entry.
fn check_names(requests: &Requests, remote: Option<&Remote>, root: &Section, report: &mut Report<'_>) {
    let mut known: HashMap<&str, &Section> = HashMap::new();
    for (section, shadow) in root.list("shadows").iter().zip(&requests.shadows) {
        if remote.is_some_and(|remote| remote.shadow == shadow.name) {
            let allowed = "`remote.shadow` names this shadow: what it desires is this robot's configuration".to_owned();
            report.add(section.tag_of("name"), &section.key_of("name"), quote(&shadow.name), allowed);
        }
        match known.get(shadow.name.as_str()) {
            Some(first) => {
                let allowed = format!("{} of {} is for this shadow already", first.key, report.source(first.tag));
                report.add(section.tag_of("name"), &section.key_of("name"), quote(&shadow.name), allowed);
            }
            None => _ = known.insert(&shadow.name, section),
        }
    }
}

/// A connection has so many subscriptions at most.
fn check_filters(remote: Option<&Remote>, root: &Section, report: &mut Report<'_>) {
    let of_remote = remote.map_or(0, |remote| remote.filters());
    let mut filters = of_remote;
    for (list, of_one) in [("commands", 1), ("services", 1), ("actions", 1), ("shadows", Shadow::HEARD.len())] {
        for section in root.list(list) {
            filters += of_one;
            if filters > MAX_FILTERS {
                let found = format!("subscription {filters} of the connection");
                let [mut others, of_shadow] = [String::new(), Shadow::HEARD.len().to_string()];
                if of_remote > 0 {
                    others = format!(", [remote] {of_remote}");
                }
                let allowed = format!(
                    "AWS IoT Core takes at most {MAX_FILTERS} on a connection; each command, service and action needs 1, each \
                     shadow {of_shadow}{others}"
                );
                report.add(section.tag, &section.key, found, allowed);
                return;
            }
        }
    }
}

/// Nothing that the bridge publishes by itself comes back as a request.
pub(super) fn check_published(
    requests: &Requests,
    topics: &[Topic],
    mqtt: &Mqtt,
    root: &Section,
    report: &mut Report<'_>,
) {
    let asked = requests.asked(root);
    let taker = |published: &str| asked.iter().find(|asked| may_become(published, &asked.topic));
    for (section, topic) in root.list("topics").iter().zip(topics).filter(|(_, topic)| !topic.is_pattern()) {
        for published in topic.mqtt_topics() {
            if let Some(asked) = taker(&published) {
                let allowed = format!("{}, so that the robot would command itself", comes_back(asked.section, report));
                report.add(section.tag_of("mqtt"), &section.key_of("mqtt"), quote(&published), allowed);
            }
        }
    }
    let will = mqtt.last_will.as_ref().map(|will| ("mqtt.last_will.topic", &will.topic));
    let presence = mqtt.presence.as_ref().map(|presence| ("mqtt.presence.topic", &presence.topic));
    for (key, published) in will.into_iter().chain(presence) {
        if let Some(asked) = taker(published) {
            report.add(root.tag_of(key), key, quote(published), comes_back(asked.section, report));
        }
    }
}

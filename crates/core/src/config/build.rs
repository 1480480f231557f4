//! From checked values to [`Settings`]: what concerns several keys at a time.

mod remote;
mod requests;
mod shaping;
mod thinning;

pub(super) use remote::remote;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};

use super::mqtt_topic::is_basic_ingest;
use super::pattern::is_pattern;
use super::problem::quote;
use super::proxy::{Proxy, ProxySource};
use super::ros_names;
use super::settings::{
    Aws, Batch, Encoding, Health, LastWill, Mqtt, OnChange, Payload, Presence, Provisioning, Qos, Queue,
    QueueDurability, Quotas, Reconnect, Requested, Ros, STRING_TYPE, Settings, Topic, UNNAMED,
};
use super::template::{Names, expand, expand_for_thing};
use super::units::{format_duration, format_size};
use super::walk::{Report, Section};

/// Builds the settings. Returns `None` if the report holds a problem.
pub(super) fn build(root: &Section, report: &mut Report<'_>) -> Option<Settings> {
    let topics = topics(root, report);
    let mqtt = mqtt(root, report);
    let queue = queue(root, report);
    let remote = remote(root);
    let requests = requests::requests(remote.as_ref().and_then(Option::as_ref), root, report);
    let mut requested = Requested::default();
    if let (Some(topics), Some(mqtt), Some(requests), Some(remote)) = (&topics, &mqtt, &requests, &remote) {
        requests::check_published(requests, topics, mqtt, root, report);
        requested = requests.requested();
        requested.mqtt.extend(remote::check_published(remote.as_ref(), requests, topics, mqtt, root, report));
    }
    let (mut topics, requests) = (topics?, requests?);
    let requested = Arc::new(requested);
    for topic in topics.iter_mut().filter(|topic| topic.is_pattern()) {
        topic.requested = Some(Arc::clone(&requested));
    }
    Some(Settings {
        aws: aws(root)?,
        mqtt: mqtt?,
        ros: ros(root)?,
        queue: queue?,
        health: health(root)?,
        topics,
        commands: requests.commands,
        services: requests.services,
        actions: requests.actions,
        shadows: requests.shadows,
        remote: remote?,
    })
}

/// Where the daemon keeps what provisioning has given it, unless the configuration names files: the service may write
/// to its state directory, and not below `/etc`.
const PROVISIONED: [(&str, &str); 2] = [
    ("aws.certificate", "/var/lib/iot-bridge/certs/robot.cert.pem"),
    ("aws.private_key", "/var/lib/iot-bridge/certs/robot.private.key"),
];

/// What a claim needs.
const CLAIM: [&str; 3] =
    ["aws.provisioning.template", "aws.provisioning.claim_certificate", "aws.provisioning.claim_private_key"];

pub(super) fn aws(root: &Section) -> Option<Aws> {
    let (aws, missing) = aws_so_far(root);
    missing.is_empty().then_some(aws)
}

/// `[aws]`, and the keys that have no value: they are missing, or what stands there is reported. A text is empty then.
pub(super) fn aws_so_far(root: &Section) -> (Aws, Vec<&'static str>) {
    let mut missing = Vec::new();
    // A table that lacks something is not there as a whole, but what is right of it is.
    let is_begun = root.is_there("aws.provisioning") || CLAIM.iter().any(|key| root.text(key).is_some());
    let [template, certificate, private_key] = CLAIM;
    let provisioning = is_begun.then(|| Provisioning {
        template: or_missing(root, template, None, &mut missing),
        claim_certificate: or_missing(root, certificate, None, &mut missing).into(),
        claim_private_key: or_missing(root, private_key, None, &mut missing).into(),
        parameters: root.names("aws.provisioning.parameters").cloned().unwrap_or_default(),
    });
    let mut or = |key, default| or_missing(root, key, default, &mut missing);
    // What may be left out with provisioning.
    let [certificate, private_key] = PROVISIONED.map(|(key, default)| or(key, provisioning.as_ref().map(|_| default)));
    let thing = or("aws.thing", provisioning.as_ref().map(|_| UNNAMED));
    let endpoint = or("aws.endpoint", None);
    let port = root.integer("aws.port").and_then(|port| port.try_into().ok());
    if port.is_none() {
        missing.push("aws.port");
    }
    let aws = Aws {
        endpoint,
        port: port.unwrap_or_default(),
        client_id: root.text("aws.client_id").map_or_else(|| thing.clone(), str::to_owned),
        thing,
        certificate: certificate.into(),
        private_key: private_key.into(),
        root_ca: root.text("aws.root_ca").map(Into::into),
        provisioning,
    };
    (aws, missing)
}

/// The text of `key`, or else `default`. Without either it is `missing`, and empty.
fn or_missing(root: &Section, key: &'static str, default: Option<&str>, missing: &mut Vec<&'static str>) -> String {
    let text = root.text(key).or(default);
    if text.is_none() {
        missing.push(key);
    }
    text.unwrap_or_default().to_owned()
}

/// The name of the thing as topics have it: what stands for it if it is not known, or not valid and reported.
fn thing(root: &Section) -> &str {
    match root.text("aws.thing") {
        Some(thing) => thing,
        None if root.is_there("aws.provisioning") => UNNAMED,
        None => "thing",
    }
}

fn mqtt(root: &Section, report: &mut Report<'_>) -> Option<Mqtt> {
    let keep_alive = root.duration("mqtt.keep_alive")?;
    if keep_alive.subsec_nanos() != 0 {
        let allowed = "allowed are whole seconds: MQTT counts nothing finer".to_owned();
        report.add(root.tag_of("mqtt.keep_alive"), "mqtt.keep_alive", quote(&format_duration(keep_alive)), allowed);
    }
    let initial = root.duration("mqtt.reconnect.initial")?;
    let max = root.duration("mqtt.reconnect.max")?;
    if initial > max {
        // A default isn't written anywhere; the other one is.
        let (key, found, allowed) = if root.tag_of("mqtt.reconnect.max").is_default() {
            ("mqtt.reconnect.initial", initial, format!("at most `max`, which is \"{}\"", format_duration(max)))
        } else {
            ("mqtt.reconnect.max", max, format!("at least `initial`, which is \"{}\"", format_duration(initial)))
        };
        report.add(root.tag_of(key), key, quote(&format_duration(found)), format!("allowed is {allowed}"));
    }
    let (last_will, presence) = (last_will(root, report), presence(root, report));
    if root.is_there("mqtt.last_will") && root.is_there("mqtt.presence") {
        let allowed = "allowed is one of the two: a connection has one will, and [mqtt.presence] needs it".to_owned();
        report.add(root.tag_of("mqtt.last_will"), "mqtt.last_will", "a will beside [mqtt.presence]".into(), allowed);
    }
    Some(Mqtt {
        version: word(root.text("mqtt.version")?)?,
        keep_alive,
        ack_timeout: root.duration("mqtt.ack_timeout")?,
        reconnect: Reconnect { initial, max, stable_after: root.duration("mqtt.reconnect.stable_after")? },
        quotas: quotas(root)?,
        last_will,
        presence,
        proxy: proxy(root, report)?,
    })
}

/// The proxy, if there is one; `None` if what is said of it is reported.
fn proxy(root: &Section, report: &mut Report<'_>) -> Option<Option<ProxySource>> {
    let url = root.text("mqtt.proxy.url").map(Proxy::parse).transpose().ok()?;
    let file = root.text("mqtt.proxy.url_file");
    if url.is_some() && file.is_some() {
        let allowed = "allowed is one of the two: `url`, or `url_file`, which names a file that holds it".to_owned();
        report.add(root.tag_of("mqtt.proxy.url_file"), "mqtt.proxy.url_file", "a file beside `url`".into(), allowed);
    }
    let file = file.map(|file| ProxySource::File { url_file: file.into() });
    Some(url.map(ProxySource::Url).or(file))
}

/// Basic Ingest has no message broker, which would keep the message.
const NOT_RETAINED: &str =
    "allowed is false: a publish to `$aws/rules/…` goes past the message broker, so nothing of it can be retained";

/// Presence is retained.
const NO_PRESENCE: &str = "allowed is a topic of the message broker, which can keep the message: not `$aws/rules/…`";

fn last_will(root: &Section, report: &mut Report<'_>) -> Option<LastWill> {
    let topic = topic_of_thing("mqtt.last_will.topic", root, report)?;
    let retain = root.bool("mqtt.last_will.retain")?;
    if retain && is_basic_ingest(&topic) {
        report.add(root.tag_of("mqtt.last_will.retain"), "mqtt.last_will.retain", "true".into(), NOT_RETAINED.into());
    }
    Some(LastWill {
        topic,
        payload: root.text("mqtt.last_will.payload")?.to_owned(),
        qos: qos(root.integer("mqtt.last_will.qos")?),
        retain,
    })
}

fn presence(root: &Section, report: &mut Report<'_>) -> Option<Presence> {
    let topic = topic_of_thing("mqtt.presence.topic", root, report)?;
    if is_basic_ingest(&topic) {
        report.add(root.tag_of("mqtt.presence.topic"), "mqtt.presence.topic", quote(&topic), NO_PRESENCE.into());
    }
    Some(Presence {
        topic,
        online: root.text("mqtt.presence.online")?.to_owned(),
        offline: root.text("mqtt.presence.offline")?.to_owned(),
    })
}

/// The MQTT topic that the template under `key` makes for the thing.
fn topic_of_thing(key: &str, root: &Section, report: &mut Report<'_>) -> Option<String> {
    let template = root.text(key)?;
    let expanded = expand_for_thing(template, thing(root));
    expanded.map_err(|allowed| report.add(root.tag_of(key), key, quote(template), allowed)).ok()
}

fn qos(number: u64) -> Qos {
    if number == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce }
}

fn quotas(root: &Section) -> Option<Quotas> {
    // What is no number is the word for no limit.
    let publishes = root.integer("mqtt.quotas.publishes_per_second");
    Some(Quotas {
        publishes_per_second: publishes.map(TryInto::try_into).transpose().ok()?,
        bytes_per_second: root.size("mqtt.quotas.bytes_per_second"),
        in_flight: root.integer("mqtt.quotas.in_flight")?.try_into().ok()?,
    })
}

fn ros(root: &Section) -> Option<Ros> {
    // ROS calls the root namespace both ways.
    let namespace = root.text("ros.namespace")?.trim_end_matches('/').to_owned();
    Some(Ros { node_name: root.text("ros.node_name")?.to_owned(), namespace })
}

/// The least disk that is of use: some segments of the smallest size.
const LEAST_DISK: u64 = 1 << 20;

fn queue(root: &Section, report: &mut Report<'_>) -> Option<Queue> {
    let (disk, durability) = (root.size("queue.disk")?, word(root.text("queue.durability")?)?);
    let mut refuse = |key: &str, found: String, allowed: &str| {
        report.add(root.tag_of(key), key, found, format!("allowed is {allowed}"));
    };
    if (1..LEAST_DISK).contains(&disk) {
        refuse("queue.disk", quote(&format_size(disk)), "0, for no disk, or a size from 1 MiB");
    }
    if disk == 0 && durability == QueueDurability::Always {
        refuse("queue.durability", quote("always"), "\"memory\" without a disk (`disk` is 0)");
    }
    Some(Queue {
        memory: root.size("queue.memory")?,
        disk,
        directory: root.text("queue.directory")?.into(),
        durability,
        // "each" is no duration.
        sync: root.duration("queue.sync").unwrap_or_default(),
        overflow: word(root.text("queue.overflow")?)?,
        max_age: root.duration("queue.max_age")?,
    })
}

fn health(root: &Section) -> Option<Health> {
    let metrics = root.text("health.metrics").map(|address| address.parse()).transpose().ok()?;
    Some(Health { metrics, diagnostics: root.bool("health.diagnostics")? })
}

fn topics(root: &Section, report: &mut Report<'_>) -> Option<Vec<Topic>> {
    let mut topics = Vec::new();
    let mut complete = true;
    let mut known: HashMap<_, &Section> = HashMap::new();
    for section in root.list("topics") {
        let Some(topic) = topic(section, root, report) else {
            complete = false;
            continue;
        };
        // Of one pattern there may be several entries, for topics of different types.
        let filter = topic.is_pattern().then(|| (topic.type_name.clone(), topic.except.clone()));
        if let Some(first) = known.insert((topic.ros.clone(), topic.mqtt.clone(), filter), section) {
            let found = format!("{} to {} for the second time", quote(&topic.ros), quote(&topic.mqtt));
            let allowed = format!("{} of {} says so already", first.key, report.source(first.tag));
            report.add(section.tag, &section.key, found, allowed);
        }
        topics.push(topic);
    }
    complete.then_some(topics)
}

fn topic(section: &Section, root: &Section, report: &mut Report<'_>) -> Option<Topic> {
    let mut refuse = |name: &str, found: &str, allowed: String| {
        report.add(section.tag_of(name), &section.key_of(name), quote(found), allowed);
    };
    let type_name = section.text("type");
    let payload: Option<Payload> = section.text("payload").and_then(word);
    if let (Some(Payload::Data), Some(other)) = (payload, type_name.filter(|name| *name != STRING_TYPE)) {
        refuse("payload", "data", format!("\"data\" is the text of a {STRING_TYPE}, and this topic's type is {other}"));
    }
    let name = section.text("ros")?;
    let namespace = root.text("ros.namespace").unwrap_or_default().trim_end_matches('/');
    let ros = ros_names::resolve(name, namespace).map_err(|allowed| refuse("ros", name, allowed)).ok()?;
    let is_pattern = is_pattern(&ros);
    if let Some(types) = type_name.filter(|name| name.ends_with('*') && !is_pattern) {
        refuse("type", types, format!("{WITH_PATTERN}; the type of one topic stands in full"));
    }
    for key in ["except", "limit"].into_iter().filter(|key| section.is_written(key) && !is_pattern) {
        report.add(
            section.tag_of(key),
            &section.key_of(key),
            format!("it beside {}", quote(name)),
            WITH_PATTERN.into(),
        );
    }
    let except = except(section, namespace, report);
    let mut refuse = |name: &str, found: &str, allowed: String| {
        report.add(section.tag_of(name), &section.key_of(name), quote(found), allowed);
    };
    let type_of_all = type_name.filter(|name| !name.ends_with('*'));
    let names = Names { thing: thing(root), ros: &ros, type_name: type_of_all };
    let template = section.text("mqtt")?;
    let mqtt = expand(template, &names).map_err(|allowed| refuse("mqtt", template, allowed)).ok()?;
    if remote::is_reserved(&mqtt) && report.is_of_overlay(section.tag) {
        report.add(section.tag_of("mqtt"), &section.key_of("mqtt"), quote(template), remote::RESERVED.into());
    }
    if section.bool("retain") == Some(true) && is_basic_ingest(&mqtt) {
        report.add(section.tag_of("retain"), &section.key_of("retain"), "true".into(), NOT_RETAINED.into());
    }
    let compression = section.text("compression").and_then(word::<Encoding>);
    let max_age = section.duration("max_age").or(root.duration("queue.max_age"))?;
    let topic = Topic {
        type_name: type_name.map(Into::into),
        mqtt,
        qos: qos(section.integer("qos")?),
        retain: section.bool("retain")?,
        except,
        requested: None,
        limit: section.integer("limit").filter(|_| is_pattern).and_then(|limit| limit.try_into().ok()),
        rate: section.rate("rate"),
        every: section.integer("every").and_then(|every| every.try_into().ok()),
        window: section.duration("window"),
        aggregate: section
            .texts("aggregate")
            .iter()
            .filter_map(|name| word(name))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        fields: section.texts("fields").to_vec(),
        exclude: section.texts("exclude").to_vec(),
        arrays: shaping::arrays(section),
        digits: section.integer("digits").and_then(|digits| digits.try_into().ok()),
        on_change: on_change(section),
        payload: payload?,
        batch: batch(section),
        compression,
        compress_over: section.size("compress_over")?,
        compression_suffix: section.bool("compression_suffix")?,
        priority: word(section.text("priority")?)?,
        max_age,
        reliability: word(section.text("reliability")?)?,
        durability: word(section.text("durability")?)?,
        depth: section.integer("depth")?.try_into().ok()?,
        ros,
    };
    check_packing(&topic, section, report);
    shaping::check(section, report);
    thinning::check(&topic, section, report);
    Some(topic)
}

/// What concerns several topics.
const WITH_PATTERN: &str = "allowed is it where `ros` is a pattern, such as \"/sensors/**\"";

/// What a pattern leaves out, by absolute names.
fn except(section: &Section, namespace: &str, report: &mut Report<'_>) -> Vec<String> {
    let mut except = Vec::new();
    for (index, name) in section.texts("except").iter().enumerate() {
        match ros_names::resolve(name, namespace) {
            Ok(name) => except.push(name),
            Err(allowed) => {
                let key = section.key_of(&format!("except[{index}]"));
                report.add(section.tag_of("except"), &key, quote(name), allowed);
            }
        }
    }
    except
}

fn on_change(section: &Section) -> Option<OnChange> {
    section.is_there("on_change").then(|| OnChange {
        fields: section.texts("on_change.fields").to_vec(),
        deadband: section.deadband("on_change.deadband"),
        at_least_every: section.duration("on_change.at_least_every"),
    })
}

fn batch(section: &Section) -> Option<Batch> {
    let max = section.integer("batch.max")?.try_into().ok()?;
    Some(Batch { max, linger: section.duration("batch.linger")? })
}

/// What batches and compression ask of a topic's other keys.
fn check_packing(topic: &Topic, section: &Section, report: &mut Report<'_>) {
    let mut refuse = |name: &str, found: String, allowed: String| {
        report.add(section.tag_of(name), &section.key_of(name), found, allowed);
    };
    if let Some(Batch { max, linger }) = topic.batch {
        if topic.payload == Payload::Cdr {
            let allowed =
                "the payload \"cdr\" has no batches: serialized bytes can't stand in a JSON array; leave it out";
            refuse("batch", format!("batches of {max}"), allowed.to_owned());
        }
        if linger >= topic.max_age {
            let (found, age) = (quote(&format_duration(linger)), format_duration(topic.max_age));
            refuse(
                "batch.linger",
                found,
                format!("allowed is less than `max_age`, {age}: what waits longer is dropped"),
            );
        }
    }
    let shortest = topic.refusal();
    if let (Some(suffix), Some(fault)) = (topic.suffix(), shortest) {
        let allowed = format!("what is compressed goes to {}: {fault}", quote(&format!("{}{suffix}", topic.mqtt)));
        refuse("compression_suffix", "true".to_owned(), allowed);
    }
}

/// The value that `word` names, by the names that it is printed with.
fn word<'a, T: Deserialize<'a>>(word: &'a str) -> Option<T> {
    let deserializer: StrDeserializer<'a, Error> = word.into_deserializer();
    T::deserialize(deserializer).ok()
}

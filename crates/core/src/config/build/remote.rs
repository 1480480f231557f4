//! Configuration from the cloud: `[remote]`.

use std::collections::BTreeSet;

use super::requests::{Place, Requests};
use super::thing;
use crate::config::mqtt_topic::is_basic_ingest;
use crate::config::problem::quote;
use crate::config::settings::{self, Mqtt, Remote, Topic};
use crate::config::template::may_become;
use crate::config::walk::{Report, Section};

/// Builds the section, if there is one. Returns `None` if the report holds a problem with it.
pub(in crate::config) fn remote(root: &Section) -> Option<Option<Remote>> {
    // A table that is there has the defaults at least.
    if !["remote.shadow", "remote.allow", "remote.confirm", "remote.jobs"].iter().any(|key| root.is_there(key)) {
        return Some(None);
    }
    let shadow = root.text("remote.shadow")?;
    let allow: BTreeSet<_> = root.texts("remote.allow").iter().filter_map(|name| settings::Section::of(name)).collect();
    Some(Some(Remote {
        shadow: shadow.to_owned(),
        allow: allow.into_iter().collect(),
        confirm: root.duration("remote.confirm")?,
        jobs: root.bool("remote.jobs")?,
    }))
}

/// Why the cloud may not send a ROS topic to a topic that [`is_reserved`].
pub(super) const RESERVED: &str = "the cloud may not let a robot speak to shadows, jobs and other services of AWS IoT Core; of the topics that start with `$` \
     allowed are those of Basic Ingest, `$aws/rules/<rule>/…`";

/// Whether what goes to the MQTT topic `mqtt`, in which placeholders may be open, goes to a service of AWS IoT Core that is no
/// rule.
pub(super) fn is_reserved(mqtt: &str) -> bool {
    mqtt.starts_with('$') && !is_basic_ingest(mqtt)
}

/// Notes what is published where the robot gets its configuration; and of what comes from the cloud also what is published
/// where the bridge tells whether it is connected. Returns these topics: what patterns find stays away from them.
pub(super) fn check_published(
    remote: Option<&Remote>,
    requests: &Requests,
    topics: &[Topic],
    mqtt: &Mqtt,
    root: &Section,
    report: &mut Report<'_>,
) -> Vec<String> {
    let requests_of = |remote: &Remote| ["/get", "/update", "/delete"].map(|end| remote.prefix(thing(root)) + end);
    let of_remote: Vec<String> = remote.into_iter().flat_map(requests_of).collect();
    let own = mqtt.last_will.iter().map(|will| will.topic.clone());
    let own: Vec<String> = own.chain(mqtt.presence.iter().map(|presence| presence.topic.clone())).collect();
    let topics: Vec<_> = root.list("topics").iter().zip(topics).collect();
    let exact = topics.iter().filter(|(_, topic)| !topic.is_pattern());
    let exact = exact.flat_map(|(section, topic)| {
        topic.mqtt_topics().into_iter().map(|topic| Place { section, key: "mqtt", topic })
    });
    for Place { section, key, topic } in exact.chain(requests.answered(root)) {
        let is_one_of = |list: &[String]| list.iter().any(|other| may_become(&topic, other));
        let allowed = if is_one_of(&of_remote) {
            "choose another topic: there the robot asks for its configuration ([remote])"
        } else if is_one_of(&own) && report.is_of_overlay(section.tag) {
            "choose another topic: there the bridge itself tells whether it is connected"
        } else {
            continue;
        };
        report.add(section.tag_of(key), &section.key_of(key), quote(&topic), allowed.to_owned());
    }
    let is_of_overlay = topics.first().is_some_and(|(section, _)| report.is_of_overlay(section.tag));
    of_remote.into_iter().chain(own.into_iter().filter(|_| is_of_overlay)).collect()
}

//! What a configuration needs to be allowed.

use std::collections::BTreeSet;

use super::{ANY_THING, THING_NAME, fits_any_thing};
use iot_bridge_core::config::{Settings, Shadow};

/// What `send` and `subscribe` use unless told otherwise.
pub const TEST_TOPIC: &str = "elf/{thing}";

/// Every ROS type of a topic, in the place of `{type}`.
const ANY_TYPE: &str = "*/msg/*";

/// What is published of jobs, behind `$aws/things/<thing>/jobs/` ("Jobs device MQTT API" in the developer guide of AWS IoT
/// Core). No job is known before it is there, so `*` stands for its id; none starts the next one, whatever it is.
/// Answers are below `accepted` and `rejected`, and come without a subscription.
const JOBS_SAID: [&str; 3] = ["get", "*/get", "*/update"];

/// What is subscribed to of jobs.
const JOBS_HEARD: &str = "notify";

/// What AWS IoT Core asks a policy for. In the order in which a policy lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    Connect,
    Publish,
    RetainPublish,
    Subscribe,
    Receive,
}

impl Action {
    pub const ALL: [Action; 5] =
        [Action::Connect, Action::Publish, Action::RetainPublish, Action::Subscribe, Action::Receive];

    /// As a policy writes it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Connect => "iot:Connect",
            Action::Publish => "iot:Publish",
            Action::RetainPublish => "iot:RetainPublish",
            Action::Subscribe => "iot:Subscribe",
            Action::Receive => "iot:Receive",
        }
    }
}

/// One thing that is allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    pub action: Action,
    /// What follows the account in the ARN: `topic/robots/robot1/odom`. `*` stands for any characters.
    pub resource: String,
    /// Of [`Action::Connect`]: the connection has a last will.
    pub will: bool,
}

impl Grant {
    fn new(action: Action, resource: String) -> Grant {
        Grant { action, resource, will: false }
    }

    /// Whether this one allows all that `other` allows.
    pub fn covers(&self, other: &Grant) -> bool {
        self.action == other.action && glob_covers(&self.resource, &other.resource)
    }
}

/// What stands for other characters in a policy, and can't be written otherwise.
const WILD: [&str; 3] = ["*", "?", "${"];

/// A policy would allow more than what the configuration names.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {what} {text:?} holds `{sign}`, which in a policy stands for other characters, so that the policy would allow more \
     than this; choose another"
)]
pub struct Wild {
    what: &'static str,
    text: String,
    sign: &'static str,
}

/// Looks that `text` means itself in a policy.
fn literal(what: &'static str, text: &str) -> Result<(), Wild> {
    match WILD.into_iter().find(|sign| text.contains(sign)) {
        // As the configuration has it.
        Some(sign) => Err(Wild { what, text: text.replace(ANY_THING, "{thing}"), sign }),
        None => Ok(()),
    }
}

/// Everything that the bridge needs with `settings`; with `test`, also what `send` and `subscribe` need for
/// [`TEST_TOPIC`]. Nothing twice, and nothing that a wider grant holds already.
///
/// Settings of a thing called [`ANY_THING`] make grants for a thing of any name.
///
/// # Errors
/// If a topic or the client id would be a pattern in a policy: AWS IoT Core has no way to take that back.
pub fn grants(settings: &Settings, test: bool) -> Result<Vec<Grant>, Wild> {
    literal("client id", &settings.aws.client_id)?;
    let wills = settings.mqtt.last_will.iter().map(|will| &will.topic);
    let wills = wills.chain(settings.mqtt.presence.iter().map(|presence| &presence.topic));
    let answered: Vec<String> = settings.answered().collect();
    let own = settings.topics.iter().map(|topic| &topic.mqtt).chain(wills).chain(&answered).map(String::as_str);
    for topic in own.chain(settings.asked()) {
        literal("MQTT topic", topic)?;
    }
    let thing = &settings.aws.thing;
    // That of the configuration is one of the shadows here, and by the same topics.
    let shadows = settings.shadows.iter().map(|shadow| shadow.prefix(thing));
    let shadows: Vec<String> = shadows.chain(settings.remote.iter().map(|remote| remote.prefix(thing))).collect();
    let below = |endings: &'static [&str]| {
        shadows.iter().flat_map(move |prefix| endings.iter().map(move |ending| format!("{prefix}{ending}")))
    };
    let jobs = settings.remote.as_ref().filter(|remote| remote.jobs).map(|_| format!("$aws/things/{thing}/jobs/"));
    let of_jobs = |endings: &'static [&str]| {
        jobs.iter().flat_map(move |prefix| endings.iter().map(move |ending| format!("{prefix}{ending}")))
    };
    let mut grants = BTreeSet::new();
    let mut publish = |topic: &str, retain: bool| {
        let resource = format!("topic/{topic}");
        if retain {
            grants.insert(Grant::new(Action::RetainPublish, resource.clone()));
        }
        grants.insert(Grant::new(Action::Publish, resource));
    };
    for topic in &settings.topics {
        // What a pattern finds may be any of several.
        for mqtt in topic.mqtt_globs() {
            let mqtt = mqtt.replace("{type}", topic.type_name.as_deref().unwrap_or(ANY_TYPE));
            publish(&mqtt, topic.retain);
            if let Some(suffix) = topic.suffix() {
                publish(&format!("{mqtt}{suffix}"), topic.retain);
            }
        }
    }
    if let Some(will) = &settings.mqtt.last_will {
        publish(&will.topic, will.retain);
    }
    if let Some(presence) = &settings.mqtt.presence {
        publish(&presence.topic, true);
    }
    for topic in answered.into_iter().chain(below(&Shadow::SAID)).chain(of_jobs(&JOBS_SAID)) {
        publish(&topic, false);
    }
    let test = test.then(|| TEST_TOPIC.replace("{thing}", thing));
    if let Some(topic) = &test {
        publish(topic, false);
    }
    for topic in of_jobs(&JOBS_SAID) {
        for answer in ["accepted", "rejected"] {
            grants.insert(Grant::new(Action::Receive, format!("topic/{topic}/{answer}")));
        }
    }
    let heard = below(&Shadow::HEARD).chain(of_jobs(&[JOBS_HEARD]));
    for topic in settings.asked().map(str::to_owned).chain(heard).chain(test) {
        grants.insert(Grant::new(Action::Subscribe, format!("topicfilter/{topic}")));
        grants.insert(Grant::new(Action::Receive, format!("topic/{topic}")));
    }
    let will = settings.mqtt.last_will.is_some() || settings.mqtt.presence.is_some();
    grants.insert(Grant { will, ..Grant::new(Action::Connect, format!("client/{}", settings.aws.client_id)) });
    let any = settings.aws.thing == ANY_THING && fits_any_thing(settings);
    let grants: Vec<Grant> = grants
        .into_iter()
        .map(|grant| match any {
            true => Grant { resource: grant.resource.replace(ANY_THING, THING_NAME), ..grant },
            false => grant,
        })
        .collect();
    let narrower = |one: &Grant| grants.iter().any(|other| other != one && other.covers(one));
    Ok(grants.iter().filter(|grant| !narrower(grant)).cloned().collect())
}

/// Whether everything that `inner` stands for, `outer` stands for too. `*` is any characters, `?` any one.
pub(super) fn glob_covers(outer: &str, inner: &str) -> bool {
    let (outer, inner): (Vec<char>, Vec<char>) = (outer.chars().collect(), inner.chars().collect());
    // The place of the last `*` of `outer`, and how far into `inner` it reaches.
    let (mut o, mut i, mut star) = (0, 0, None);
    while i < inner.len() {
        match outer.get(o) {
            Some('*') => {
                star = Some((o, i));
                o += 1;
            }
            Some('?') if inner[i] != '*' => (o, i) = (o + 1, i + 1),
            Some(same) if *same == inner[i] && *same != '?' => (o, i) = (o + 1, i + 1),
            _ => match star {
                Some((place, reach)) => {
                    star = Some((place, reach + 1));
                    (o, i) = (place + 1, reach + 1);
                }
                None => return false,
            },
        }
    }
    outer[o..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pattern covers what it matches, also another pattern, and nothing else.
    #[test]
    fn patterns_cover_what_they_match() {
        for (outer, inner) in [
            ("*", ""),
            ("*", "a*b"),
            ("a/*", "a/b/c"),
            ("a/*/c", "a/b/b/c"),
            ("a/*", "a/*"),
            ("a?c", "abc"),
            ("a?c", "a?c"),
            ("*a*b*", "xaxbx"),
            ("*ab", "aab"),
        ] {
            assert!(glob_covers(outer, inner), "{outer} {inner}");
        }
        for (outer, inner) in [
            ("", "a"),
            ("a/*", "a"),
            ("a/b", "a/*"),
            ("a/?", "a/*"),
            ("a?c", "a"),
            ("a/*/c", "a/b/d"),
            ("a/b", "a/?"),
            ("a/*b", "a/*"),
        ] {
            assert!(!glob_covers(outer, inner), "{outer} {inner}");
        }
    }
}

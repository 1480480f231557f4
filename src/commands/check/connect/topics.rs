//! What the broker says of publishes to the configured topics.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::time::timeout_at;

use super::{Line, Session};
use crate::health::Report;
use iot_bridge_core::config::{Qos, Settings, fill_thing};
use iot_bridge_core::mqtt::session::Reached;
use iot_bridge_core::mqtt::{Fault, FaultKind};

/// An MQTT topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Topic {
    pub mqtt: String,
    pub verdict: Verdict,
    /// By what that is known, or why it is not.
    pub because: String,
    /// The pattern whose topics go there, each in its own place.
    #[serde(skip)]
    pattern: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Allowed,
    Refused,
    /// Asked, and not answered.
    Unanswered,
    /// Not asked.
    Unknown,
}

/// The topics that `settings` publish to, with nothing known of them. One that depends on a type that is not known is
/// there as the configuration has it.
pub(super) fn all(settings: &Settings) -> Vec<Topic> {
    let mut all: Vec<Topic> = Vec::new();
    for topic in &settings.topics {
        let mqtt = fill_thing(&topic.mqtt, &settings.aws.thing).into_owned();
        for mqtt in [Some(mqtt.clone()), topic.suffix().map(|suffix| mqtt + suffix)].into_iter().flatten() {
            let pattern = topic.is_pattern().then(|| topic.ros.clone());
            if !all.iter().any(|known| (&known.mqtt, &known.pattern) == (&mqtt, &pattern)) {
                let because = "nothing was published".to_owned();
                all.push(Topic { mqtt, verdict: Verdict::Unknown, because, pattern });
            }
        }
    }
    all
}

/// The topics of last will and presence: those messages would tell others that the bridge comes or goes.
pub(super) fn untried(settings: &Settings) -> Vec<String> {
    let will = settings.mqtt.last_will.iter().map(|will| &will.topic);
    let presence = settings.mqtt.presence.iter().map(|presence| &presence.topic);
    will.chain(presence).map(|topic| fill_thing(topic, &settings.aws.thing).into_owned()).collect()
}

/// What a running bridge knows of `topics`.
pub(super) fn as_told(topics: &mut [Topic], report: &Report) {
    for topic in topics {
        let acknowledged = |told: &&crate::health::report::Topic| {
            let is_found = told.pattern.is_some() && told.pattern == topic.pattern;
            told.acknowledged > 0 && (is_found || *fill_thing(&told.mqtt, &report.thing) == *topic.mqtt)
        };
        let (verdict, because) = if report.connection.set_aside.contains(&topic.mqtt) {
            (Verdict::Refused, "the running bridge has set it aside, because the broker does not take it")
        } else if report.topics.iter().any(|told| acknowledged(&told)) {
            (Verdict::Allowed, "the running bridge has had publishes to it acknowledged")
        } else {
            (Verdict::Unknown, "the running bridge has had no publish to it acknowledged yet")
        };
        (topic.verdict, topic.because) = (verdict, because.to_owned());
    }
}

/// Sends a test message to each of `topics`, one at a time, and leaves. In MQTT 3.1.1 the broker closes the connection over
/// one that it refuses; the next ones are sent on another connection.
pub(super) async fn publish(topics: &mut [Topic], session: Session, line: &mut Line<'_>) {
    let mut session = Some(session);
    for topic in topics {
        if topic.mqtt.contains('{') {
            topic.because = match &topic.pattern {
                Some(pattern) => format!("its name depends on what {pattern} finds"),
                None => "its name depends on the type of its messages".to_owned(),
            };
            continue;
        }
        let mut open = match session.take() {
            Some(open) => open,
            None => match line.open(&mut Reached::default()).await {
                Ok(open) => open,
                Err(fault) => {
                    (topic.verdict, topic.because) = (Verdict::Unanswered, fault.sentence);
                    continue;
                }
            },
        };
        let answer = open.publish(&topic.mqtt, Qos::AtLeastOnce, message(&line.aws.thing).into());
        let answer = timeout_at(line.until.into(), answer).await.unwrap_or_else(|_| Err(line.too_late_for(topic)));
        (topic.verdict, topic.because) = match &answer {
            Ok(_) => (Verdict::Allowed, "the broker has acknowledged a test message".to_owned()),
            Err(fault) => told_by(fault),
        };
        // After a refusal in words the connection stands.
        if answer.is_ok() || answer.is_err_and(|fault| fault.kind == FaultKind::NotAuthorized) {
            session = Some(open);
        }
    }
    if let Some(session) = session {
        session.leave().await;
    }
}

fn told_by(fault: &Fault) -> (Verdict, String) {
    match fault.kind {
        FaultKind::NotAuthorized => (Verdict::Refused, fault.sentence.clone()),
        FaultKind::Closed | FaultKind::Disconnected => {
            let because = format!("{} over it; the usual cause is a policy that does not allow it", fault.sentence);
            (Verdict::Refused, because)
        }
        _ => (Verdict::Unanswered, fault.sentence.clone()),
    }
}

/// A test message: JSON that says what it is, for whoever has subscribed.
fn message(thing: &str) -> Vec<u8> {
    let sent = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    serde_json::json!({ "test": "iot-bridge check --connect --publish", "thing": thing, "sent": sent })
        .to_string()
        .into_bytes()
}

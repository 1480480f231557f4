//! What the tests of requests have in common.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Gate, Received};
use crate::codec::{Count, Encoder, Field, Kind, Schema};
use crate::config::{Command, CommandPayload, Qos};

/// Nanoseconds since 1970 of a day in 2026.
pub(super) const NOW: i64 = 1_795_000_000_000_000_000;

fn field(name: &str, kind: Kind) -> Field {
    Field { name: name.into(), kind, count: Count::One }
}

/// `geometry_msgs/msg/Twist`.
pub(super) fn twist() -> Arc<Schema> {
    let fields = ["x", "y", "z"].map(|name| field(name, Kind::F64)).into();
    let vector = Kind::Message(Arc::new(Schema { name: "geometry_msgs/msg/Vector3".into(), fields }));
    let fields = vec![field("linear", vector.clone()), field("angular", vector)];
    Arc::new(Schema { name: "geometry_msgs/msg/Twist".into(), fields })
}

/// A command with an envelope and nothing else.
pub(super) fn command() -> Command {
    Command {
        mqtt: "robots/r/cmd_vel".into(),
        ros: "/cmd_vel".into(),
        type_name: "geometry_msgs/msg/Twist".into(),
        payload: CommandPayload::Envelope,
        qos: Qos::AtMostOnce,
        max_rate: None,
        max_age: None,
        limits: BTreeMap::new(),
        on_silence: None,
        reply: None,
    }
}

pub(super) fn gate(command: &Command) -> Gate {
    Gate::new(command, &twist(), &HashMap::new()).unwrap()
}

pub(super) fn encoder() -> Encoder {
    Encoder::new(&twist(), &HashMap::new(), &[]).unwrap()
}

/// Without retain and correlation data.
pub(super) fn received(payload: &[u8]) -> Received<'_> {
    Received { payload, retain: false, correlation_data: None }
}

pub(super) fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap()
}

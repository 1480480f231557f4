use std::collections::BTreeMap;

use iot_bridge_core::config::{CommandPayload, OnSilence, Qos};
use iot_bridge_core::requests::Received;

use super::*;
use crate::health::Requests as Account;

/// An entry of `topic` with `on_silence` after 400 ms, and the node that it publishes with.
fn command(topic: &str) -> (Command, Arc<Node>) {
    let node = Arc::new(Node::create("iot_bridge", "").unwrap());
    let settings = settings(topic);
    let open = Open::new(&settings, &[Arc::clone(&node)]).unwrap();
    let health = Account::default().enter("command", &settings.mqtt, &settings.ros);
    let mut command = Command::new(settings, health);
    command.open = Some(open);
    (command, node)
}

fn settings(topic: &str) -> config::Command {
    config::Command {
        mqtt: "cmd".to_owned(),
        ros: topic.to_owned(),
        type_name: "std_msgs/msg/Bool".to_owned(),
        payload: CommandPayload::Message,
        qos: Qos::AtMostOnce,
        max_rate: None,
        max_age: None,
        limits: BTreeMap::new(),
        on_silence: Some(OnSilence { after: Duration::from_millis(400), message: serde_json::Map::new() }),
        reply: None,
    }
}

/// As if a command had been published.
fn drive(command: &mut Command, now: Instant) {
    let received = Received { payload: b"{}", retain: false, correlation_data: None };
    let Some(Open { gate, .. }) = &mut command.open else { panic!("it is not open") };
    gate.judge(&received, now, None).unwrap().published();
}

/// The thread is woken when the message of `on_silence` is due, and no more once it was published.
#[test]
fn the_thread_is_woken_when_it_is_time_to_stop() {
    let (mut command, _node) = command("/stop1");
    let start = Instant::now();
    assert_eq!(command.wake_at(), None);
    drive(&mut command, start);
    let due = start + Duration::from_millis(400);
    assert_eq!(command.wake_at(), Some(due));
    command.stop_if_silent(due - Duration::from_millis(1));
    assert_eq!(command.wake_at(), Some(due));
    command.stop_if_silent(due);
    assert_eq!(command.wake_at(), None);
}

/// What could not be published is tried again soon, for a while; then with each turn. A command that is published comes after it.
#[test]
fn a_stop_that_fails_is_tried_again_soon() {
    let (mut command, node) = command("/stop2");
    let start = Instant::now();
    drive(&mut command, start);
    node.shut_down();
    let due = start + Duration::from_millis(400);
    command.stop_if_silent(due);
    let unsent = |command: &Command| command.unsent.as_ref().map(|unsent| unsent.tried);
    let tried = unsent(&command).unwrap();
    assert_eq!(command.wake_at(), Some(tried + RETRY));
    let late = due + RETRIES;
    command.stop_if_silent(late);
    assert_eq!((unsent(&command), command.wake_at()), (Some(late), None));
}

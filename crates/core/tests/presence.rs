//! What others see at the broker of whether the bridge is there.

use std::time::Duration;

use crate::support::aws_broker::{AwsBroker, Limits};
use crate::support::link::Link;
use crate::support::scene::{Scene, route};
use iot_bridge_core::config::{LastWill, Presence, Qos};
use tokio::time::timeout;

const TOPIC: &str = "robots/robot1/presence";

/// A scene with its broker behind the link.
async fn scene() -> (Scene, AwsBroker) {
    let mut scene = Scene::set().await;
    let broker = AwsBroker::start(&scene.authority, Limits::without_rates()).await;
    scene.link = Link::open(broker.port).await;
    scene.aws.port = scene.link.port();
    (scene, broker)
}

async fn await_presence(broker: &AwsBroker, expected: &str) {
    let comes = async {
        while broker.retained(TOPIC).as_deref() != Some(expected.as_bytes()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), comes).await.unwrap_or_else(|_| panic!("presence is never {expected:?}"));
}

/// The retained message says `online` on each connection, before any record, `offline` when the link is lost, and
/// `offline` after an orderly end, for which the broker needs no will. The records beside it arrive all.
#[tokio::test(flavor = "multi_thread")]
async fn presence_is_true() {
    let (mut scene, broker) = scene().await;
    scene.mqtt.presence = Some(Presence { topic: TOPIC.into(), online: "here".into(), offline: "gone".into() });
    (0..100).for_each(|number| scene.admit(number));
    let mut running = scene.run();
    await_presence(&broker, "here").await;
    scene.acknowledged(100).await;
    assert_eq!(broker.record().arrivals[0].topic, TOPIC);
    scene.link.shut().await;
    await_presence(&broker, "gone").await;
    scene.link.reopen().await;
    running.connected(2).await;
    await_presence(&broker, "here").await;
    (100..200).for_each(|number| scene.admit(number));
    scene.acknowledged(200).await;
    assert_eq!(running.stop().await, 0);
    await_presence(&broker, "gone").await;
    assert_eq!(broker.record().wills, [(TOPIC.into(), "gone".into())]);
}

/// Where the policy allows no retained publishes, presence is set aside, and the records flow.
#[tokio::test(flavor = "multi_thread")]
async fn presence_that_is_forbidden_holds_nothing_up() {
    let (mut scene, broker) = scene().await;
    broker.forbid_retain();
    scene.mqtt.presence = Some(Presence { topic: TOPIC.into(), online: "here".into(), offline: "gone".into() });
    scene.routes[0] = route(0, Qos::AtMostOnce);
    (0..100).for_each(|number| scene.admit(number));
    let mut running = scene.run();
    running.state(|state| state.is_connected() && state.set_aside == [TOPIC]).await;
    scene.acknowledged(100).await;
    running.stop().await;
}

/// The last will is published when the link is lost, and not after an orderly end.
#[tokio::test(flavor = "multi_thread")]
async fn a_last_will_is_for_the_unexpected() {
    let (mut scene, broker) = scene().await;
    let payload = r#"{"gone":true}"#;
    scene.mqtt.last_will =
        Some(LastWill { topic: TOPIC.into(), payload: payload.into(), qos: Qos::AtLeastOnce, retain: true });
    let mut running = scene.run();
    running.connected(1).await;
    assert_eq!(broker.retained(TOPIC), None);
    scene.link.cut();
    await_presence(&broker, payload).await;
    running.connected(2).await;
    running.stop().await;
    // A session that has ended with DISCONNECT is forgotten by now, as the next one shows.
    let mut running = scene.run();
    running.connected(1).await;
    assert_eq!(broker.record().wills.len(), 1);
    running.stop().await;
}

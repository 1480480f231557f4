//! The version of MQTT with `mqtt.version = "auto"`, against a broker that speaks 5 and one that does not.

use std::time::Duration;

use crate::support::aws_broker::{AwsBroker, Limits, WithoutMqtt5};
use crate::support::link::Link;
use crate::support::scene::Scene;
use iot_bridge_core::config::{MqttVersion, Version};
use iot_bridge_core::mqtt::FaultKind;
use iot_bridge_core::uplink::{Fallback, session};

/// A scene with a broker like AWS IoT Core, and a bridge that is to find out what that speaks.
async fn auto() -> (Scene, AwsBroker) {
    let mut scene = Scene::set().await;
    let mut broker = AwsBroker::start(&scene.authority, Limits::without_rates()).await;
    scene.link = Link::open(broker.port).await;
    scene.aws.port = scene.link.port();
    scene.mqtt.version = MqttVersion::Auto;
    scene.observer.watch(&mut broker.messages);
    (scene, broker)
}

/// Which of the CONNECTs so far were of MQTT 5, and whether they were accepted.
fn connects(broker: &AwsBroker) -> Vec<(bool, bool)> {
    broker.record().connects.iter().map(|connect| (connect.is_mqtt5, connect.accepted)).collect()
}

/// A broker that does not know MQTT 5 gets everything in 3.1.1, whichever way it says so, and is not asked for 5 again by
/// the same process; where it says so in words, that counts as a failed attempt and is no fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_know_5_is_spoken_to_in_3_1_1() {
    for (how, refused, why) in [
        (WithoutMqtt5::InMqtt5, 1, Fallback::Refused),
        (WithoutMqtt5::InMqtt3, 1, Fallback::Refused),
        (WithoutMqtt5::Silently, 2, Fallback::Closed),
    ] {
        let (mut scene, broker) = auto().await;
        broker.forget_mqtt5(Some(how));
        let mut running = scene.run();
        scene.admit(0);
        scene.receive(1).await;
        let state = running.connected(1).await;
        assert_eq!((state.version, state.fallback), (Some(Version::V3_1_1), Some(why)), "{how:?}");
        let kind = if why == Fallback::Refused { FaultKind::UnsupportedVersion } else { FaultKind::Closed };
        assert_eq!(state.failures.into_iter().collect::<Vec<_>>(), [(kind.label(), refused as u64)]);
        assert_eq!(state.last_fault.is_some(), why == Fallback::Closed, "{how:?}");
        scene.link.cut();
        running.connected(2).await;
        scene.admit(1);
        scene.receive(2).await;
        let expected = [vec![(true, false); refused], vec![(false, true); 2]].concat();
        assert_eq!(connects(&broker), expected, "{how:?}");
        assert_eq!(running.stop().await, 0);

        // A tool that connects once finds it as well.
        let session = session(&scene.aws, &scene.mqtt).await.unwrap();
        assert_eq!(session.version(), Version::V3_1_1);
        session.leave().await;
    }
}

/// A broker that knows MQTT 5 is spoken to in that, also after one that closed every connection was in its place for a
/// while: 3.1.1 was tried then, and was not answered either.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_does_not_end_mqtt_5() {
    let (mut scene, broker) = auto().await;
    broker.refuse(Some(crate::support::aws_broker::Refusal::Silently));
    let mut running = scene.run();
    let is_tried = |broker: &AwsBroker| connects(broker).contains(&(false, false));
    while !is_tried(&broker) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    broker.refuse(None);
    let state = running.connected(1).await;
    assert_eq!((state.version, state.fallback), (Some(Version::V5), None), "{:?}", connects(&broker));
    scene.admit(0);
    scene.receive(1).await;
    assert_eq!(running.stop().await, 0);
}

/// A version that is configured stays, and why there is no connection says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_configured_version_is_not_given_up() {
    let (mut scene, broker) = auto().await;
    scene.mqtt.version = MqttVersion::V5;
    broker.forget_mqtt5(Some(WithoutMqtt5::InMqtt3));
    let mut running = scene.run();
    let sentence = running.fault(FaultKind::UnsupportedVersion).await;
    assert_eq!(
        sentence,
        "the broker does not speak MQTT 5 (unsupported protocol version, 0x84); mqtt.version = \"auto\" finds one that \
         it speaks"
    );
    running.state(|state| state.failed_attempts >= 2).await;
    assert!(connects(&broker).iter().all(|connect| *connect == (true, false)));
    broker.forget_mqtt5(None);
    running.connected(1).await;
    running.stop().await;
}

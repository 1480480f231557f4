//! Two bridges that were given the same client id.

use std::time::Duration;

use crate::support::aws_broker::{AwsBroker, Limits};
use crate::support::scene::Scene;
use iot_bridge_core::config::{Reconnect, Version};
use iot_bridge_core::mqtt::FaultKind;
use iot_bridge_core::uplink::UplinkState;

/// With the default waits and for five minutes, in MQTT 3.1.1 and in 5: the two connect fewer than 30 times together, and
/// both say why.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes five minutes; `two_clients_with_one_client_id_do_not_fight` simulates many such"]
async fn two_bridges_with_one_client_id_do_not_fight() {
    let second = Duration::from_secs(1);
    let mut brokers = Vec::new();
    for version in [Version::V3_1_1, Version::V5] {
        let mut scene = Scene::set().await;
        let broker = AwsBroker::start(&scene.authority, Limits::documented()).await;
        scene.aws.port = broker.port;
        scene.mqtt.version = version.into();
        scene.mqtt.reconnect = Reconnect { initial: second, max: 120 * second, stable_after: 30 * second };
        let both = [scene.run(), scene.run_as(&scene.aws, Scene::empty_queue())];
        brokers.push((scene, broker, both));
    }
    tokio::time::sleep(300 * second).await;
    for (scene, broker, both) in brokers {
        let connects = broker.record().connects.len();
        println!("{:?}: {connects} connects", scene.mqtt.version);
        assert!(connects < 30, "{connects}");
        for running in both {
            let says_why = |state: &UplinkState| state.failures.contains_key(FaultKind::TakenOver.label());
            assert!(says_why(&running.state.borrow()), "{:?}", running.state.borrow().failures);
            running.stop().await;
        }
    }
}

//! What is published to the bridge: subscriptions on each connection, filters that are refused, and what comes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::support::aws_broker::{Account, AwsBroker, Limits, Message, WithoutMqtt5};
use crate::support::certificates::Authority;
use crate::support::link::Link;
use crate::support::mosquitto::Mosquitto;
use crate::support::scene::Scene;
use bytes::Bytes;
use iot_bridge_core::config::{MqttVersion, Presence, Qos, Version};
use iot_bridge_core::mqtt::client::{Arrival, Properties};
use iot_bridge_core::uplink::{Subscription, Subscriptions, Uplink, UplinkState, session};
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5];

/// A scene with a broker like AWS IoT Core, for `version`.
async fn with(version: Version) -> (Scene, AwsBroker) {
    let mut scene = Scene::set().await;
    let mut broker = AwsBroker::start(&scene.authority, Limits::without_rates()).await;
    scene.link = Link::open(broker.port).await;
    scene.aws.port = scene.link.port();
    scene.mqtt.version = version.into();
    scene.observer.watch(&mut broker.messages);
    (scene, broker)
}

/// An uplink that runs, and who handles what is published to it.
struct Listening {
    state: watch::Receiver<UplinkState>,
    subscriptions: Subscriptions,
    arrivals: mpsc::Receiver<Arrival>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<u64>,
}

impl Listening {
    /// Wants `filters` with QoS 1, and has room for `room` arrivals.
    fn start(scene: &Scene, filters: &[&str], room: usize) -> Self {
        let uplink = Uplink::new(scene.aws.clone(), scene.mqtt.clone(), scene.queue.clone(), Arc::default());
        let (mut uplink, state) = uplink.unwrap();
        let (subscriptions, arrivals) = uplink.listen(room);
        subscriptions.set(wanted(filters));
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        Listening { state, subscriptions, arrivals, stop, task: tokio::spawn(uplink.run(shutdown)) }
    }

    async fn state(&mut self, is_it: impl FnMut(&UplinkState) -> bool) -> UplinkState {
        timeout(PATIENCE, self.state.wait_for(is_it)).await.expect("the state does not come").unwrap().clone()
    }

    async fn arrival(&mut self) -> Arrival {
        timeout(PATIENCE, self.arrivals.recv()).await.expect("nothing arrives").unwrap()
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        assert_eq!(timeout(PATIENCE, self.task).await.expect("the uplink does not stop").unwrap(), 0);
    }
}

fn wanted(filters: &[&str]) -> Vec<Subscription> {
    filters.iter().map(|filter| Subscription { filter: (*filter).into(), qos: Qos::AtLeastOnce }).collect()
}

/// Policies that allow everything but subscriptions to `forbidden`.
fn account(forbidden: &[&str]) -> Account {
    let denied: Vec<String> = forbidden.iter().map(|filter| format!("p:topicfilter/{filter}")).collect();
    let statements = json!([
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iot:Subscribe", "Resource": denied},
    ]);
    let documents = vec![json!({"Statement": statements})];
    Account { prefix: "p:".into(), documents, things: vec![], attached: String::new() }
}

async fn until(mut is_it: impl FnMut() -> bool) {
    let comes = async {
        while !is_it() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, comes).await.expect("it does not come");
}

/// Filters that the policy does not allow are told apart from the others, in MQTT 3.1.1 by three closes each and in 5 by the
/// SUBACK without any: the others are subscribed to, all telemetry arrives, no publish is suspected, and no other client.
#[tokio::test(flavor = "multi_thread")]
async fn two_forbidden_filters_among_twenty() {
    for version in VERSIONS {
        let (mut scene, broker) = with(version).await;
        let filters: Vec<String> = (0..20).map(|number| format!("to/robot1/{number:02}")).collect();
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        let forbidden = [filters[7], filters[15]];
        broker.enforce(account(&forbidden));
        (0..500).for_each(|number| scene.admit(number));
        let mut listening = Listening::start(&scene, &filters, 100);
        scene.receive(500).await;
        scene.acknowledged(500).await;
        let state = listening.state(|state| state.refused_filters == forbidden).await;
        let closes = if version == Version::V3_1_1 { 6 } else { 0 };
        assert_eq!(state.connections, 1 + closes, "{version}: {state:?}");
        assert_eq!((state.set_aside.len(), state.contested), (0, false), "{version}: {state:?}");
        let record = broker.record();
        assert!(record.subscribes.iter().all(|(_, filters)| filters.len() <= 8), "{:?}", record.subscribes);
        let remark = |filter: &&str| format!("The broker refuses the subscription to {filter}");
        assert_eq!(state.remarks(SystemTime::now()), forbidden.iter().map(remark).collect::<Vec<_>>());

        // What the others bring arrives, on this connection and on the next, where the forbidden ones are not asked for.
        for connections in [1, 2].map(|more| closes + more) {
            listening.state(|state| state.is_connected() && state.connections == connections).await;
            until(|| {
                let subscribes = broker.record().subscribes;
                let of_last = subscribes.iter().filter(|(connection, _)| *connection as u64 + 1 == connections);
                of_last.map(|(_, filters)| filters.len()).sum::<usize>() >= 18
            })
            .await;
            broker.send_direct(
                "robot1",
                Message { topic: filters[3].into(), payload: "go".into(), ..Message::default() },
            );
            let arrival = listening.arrival().await;
            assert_eq!((&*arrival.topic, &*arrival.payload, arrival.retain), (filters[3], &b"go"[..], false));
            scene.link.cut();
        }
        listening.state(|state| state.connections == closes + 3).await;
        scene.admit(500);
        scene.receive(501).await;
        let last = broker.record().subscribes.iter().map(|(connection, _)| *connection).max();
        let subscribes = broker.record().subscribes;
        let of_last: Vec<_> = subscribes.iter().filter(|(connection, _)| Some(*connection) == last).collect();
        let asked: Vec<&str> = of_last.iter().flat_map(|(_, filters)| filters.iter().map(String::as_str)).collect();
        assert_eq!(asked.len(), 18, "{asked:?}");
        assert!(!forbidden.iter().any(|filter| asked.contains(filter)), "{asked:?}");

        // Once the policy allows them, they are subscribed to; at once if they are taken out and put in again.
        broker.enforce(account(&[]));
        listening.subscriptions.set(wanted(&[]));
        listening.state(|state| state.refused_filters.is_empty()).await;
        listening.subscriptions.set(wanted(&filters));
        until(|| broker.record().subscribes.iter().any(|(_, asked)| asked.iter().any(|filter| filter == forbidden[0])))
            .await;
        let heard = async {
            loop {
                let payload = Bytes::from("heard");
                broker.publish(Message { topic: forbidden[0].into(), payload, ..Message::default() });
                if timeout(Duration::from_millis(50), listening.arrivals.recv()).await.is_ok() {
                    break;
                }
            }
        };
        timeout(PATIENCE, heard).await.expect("a filter that is allowed again brings nothing");
        listening.stop().await;
    }
}

/// Nothing is published before the SUBACK, so that whoever hears that the bridge is there can tell it something.
#[tokio::test(flavor = "multi_thread")]
async fn presence_follows_the_subscriptions() {
    let (mut scene, broker) = with(Version::V5).await;
    let (online, offline) = ("online".to_owned(), "offline".to_owned());
    scene.mqtt.presence = Some(Presence { topic: "robots/robot1/presence".into(), online, offline });
    let mut listening = Listening::start(&scene, &["to/robot1"], 10);
    until(|| !broker.record().arrivals.is_empty()).await;
    assert_eq!(broker.record().subscribes, [(0, vec!["to/robot1".to_owned()])]);

    // What is wanted changes on the connection that stands.
    listening.subscriptions.set(wanted(&["to/{thing}/a", "to/robot1/b"]));
    until(|| broker.record().subscribes.len() == 2).await;
    let record = broker.record();
    assert_eq!(record.subscribes[1], (0, vec!["to/robot1/a".to_owned(), "to/robot1/b".to_owned()]));
    assert_eq!(record.unsubscribes, [["to/robot1"]]);
    let mut sender = scene.aws.clone();
    sender.client_id = "cloud".into();
    let mut sender = session(&sender, &scene.mqtt).await.unwrap();
    sender.publish("to/robot1/b", Qos::AtLeastOnce, Bytes::from_static(b"go")).await.unwrap();
    assert_eq!(listening.arrival().await.topic, "to/robot1/b");
    sender.leave().await;
    listening.stop().await;
}

/// What is sent to the client without a subscription reaches the handler, with what MQTT 5 has beside the payload; the broker
/// gets its PUBACK once that is taken, and in MQTT 5 keeps what there is no room for. Telemetry flows meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_directly_is_handed_over_and_acknowledged_when_taken() {
    for version in VERSIONS {
        let (mut scene, broker) = with(version).await;
        let mut listening = Listening::start(&scene, &[], 2);
        listening.state(UplinkState::is_connected).await;
        let direct = || Message {
            topic: "commands/stop".into(),
            payload: "{}".into(),
            qos: 1,
            response_topic: Some("cloud/answers".into()),
            correlation_data: Some(Bytes::from_static(&[1, 0xff])),
            content_type: Some("application/json".into()),
            expires_in: Some(500),
            ..Message::default()
        };
        (1..=3).for_each(|_| broker.send_direct("robot1", direct()));
        let (first, second) = (listening.arrival().await, listening.arrival().await);
        let expected = match version {
            Version::V3_1_1 => Properties::default(),
            Version::V5 => Properties {
                response_topic: Some("cloud/answers".into()),
                correlation_data: Some(Bytes::from_static(&[1, 0xff])),
                content_type: Some("application/json".into()),
                expires_in: Some(500),
            },
        };
        assert_eq!((&*first.topic, &first.properties), ("commands/stop", &expected));
        scene.admit(0);
        scene.receive(1).await;
        let success = |packet_id| (packet_id, PubAckReason::Success);
        let before = match version {
            Version::V3_1_1 => {
                listening.state(|state| state.missed == 1).await;
                vec![success(3)]
            }
            Version::V5 => vec![],
        };
        until(|| broker.record().pubacks == before).await;
        second.taken();
        until(|| broker.record().pubacks == [&before[..], &[success(2)]].concat()).await;
        if version == Version::V5 {
            listening.arrival().await.taken();
            until(|| broker.record().pubacks == [success(2), success(3)]).await;
        }
        drop(first);
        listening.stop().await;
    }
}

/// However much is missed, what comes when there is room again arrives: nothing that was missed takes of what the broker may
/// send without PUBACK. In MQTT 5 the broker is told that it was not taken.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missed_stops_nothing() {
    for version in VERSIONS {
        let (scene, broker) = with(version).await;
        let mut listening = Listening::start(&scene, &[], 2);
        listening.state(UplinkState::is_connected).await;
        let send = |qos, payload: &'static str| {
            broker.send_direct(
                "robot1",
                Message { topic: "to".into(), payload: payload.into(), qos, ..Message::default() },
            )
        };
        (0..2).for_each(|_| send(0, "fills the room"));
        // More than AWS IoT Core sends without PUBACK.
        (0..105).for_each(|_| send(1, "missed"));
        listening.state(|state| state.missed == 105).await;
        (0..2).for_each(|_| drop(listening.arrivals.try_recv().unwrap()));
        send(1, "taken");
        let arrival = listening.arrival().await;
        assert_eq!(arrival.payload, "taken", "{version}");
        arrival.taken();
        until(|| broker.record().pubacks.len() == 106).await;
        let refused = if version == Version::V5 { PubAckReason::QuotaExceeded } else { PubAckReason::Success };
        let pubacks: Vec<_> = broker.record().pubacks.into_iter().map(|(_, reason)| reason).collect();
        assert_eq!(pubacks, [vec![refused; 105], vec![PubAckReason::Success]].concat(), "{version}");
        listening.stop().await;
    }
}

/// What Mosquitto's plugin for access control is told: one filter may not be subscribed to.
const ACCESS: &str = r#"{
    "defaultACLAccess": {
        "publishClientSend": true, "publishClientReceive": true, "subscribe": true, "unsubscribe": true
    },
    "anonymousGroup": "all",
    "groups": [{ "groupname": "all", "roles": [{ "rolename": "all" }] }],
    "roles": [{
        "rolename": "all",
        "acls": [{ "acltype": "subscribeLiteral", "topic": "elsewhere", "priority": 0, "allow": false }]
    }]
}"#;

/// Mosquitto, which does not allow one filter of two, says so in its SUBACK in either version; the other is subscribed to.
/// What it has kept comes with the retain flag, what is published now without.
#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_refuses_a_filter_in_words() {
    let authority = Authority::new("Test CA");
    let access = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(access.path(), ACCESS).unwrap();
    let libraries = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut plugins = libraries.map(|directory| directory.join("mosquitto_dynamic_security.so"));
    let plugin = plugins.find(|plugin| plugin.is_file()).expect("Debian has it in its package of Mosquitto");
    let settings = format!(
        "allow_anonymous true\nplugin {}\nplugin_opt_config_file {}",
        plugin.display(),
        access.path().display()
    );
    let mosquitto = Mosquitto::start_with(&authority, &authority, &settings);
    let mut scene = Scene::set_with(authority, mosquitto).await;
    // The retained message of presence, which the bridge of the next round gets.
    let (online, offline) = ("online".to_owned(), "offline".to_owned());
    scene.mqtt.presence = Some(Presence { topic: "to/robot1/presence".into(), online, offline });
    let mut kept = None;
    for version in VERSIONS {
        scene.mqtt.version = version.into();
        let mut listening = Listening::start(&scene, &["elsewhere", "to/robot1/+"], 10);
        let state = listening.state(|state| !state.refused_filters.is_empty()).await;
        assert_eq!((&*state.refused_filters, state.connections), (&["elsewhere".to_owned()][..], 1), "{version}");
        let mut sender = scene.aws.clone();
        sender.client_id = "cloud".into();
        let mut sender = session(&sender, &scene.mqtt).await.unwrap();
        sender.publish("to/robot1/yes", Qos::AtLeastOnce, Bytes::from_static(b"go")).await.unwrap();
        let mut arrived: Vec<(String, Bytes, bool)> = Vec::new();
        while arrived.last().is_none_or(|(topic, ..)| topic != "to/robot1/yes") {
            let arrival = listening.arrival().await;
            arrived.push((arrival.topic.clone(), arrival.payload.clone(), arrival.retain));
            arrival.taken();
        }
        let before = kept.take().map(|payload| ("to/robot1/presence".to_owned(), Bytes::from_static(payload), true));
        let own = [("to/robot1/presence", "online"), ("to/robot1/yes", "go")];
        let own = own.map(|(topic, payload)| (topic.to_owned(), Bytes::from(payload), false));
        assert_eq!(arrived, before.into_iter().chain(own).collect::<Vec<_>>(), "{version}");
        sender.leave().await;
        listening.stop().await;
        kept = Some(&b"offline"[..]);
    }
}

/// With `version = "auto"` and a broker that knows no MQTT 5, the subscriptions are in force in 3.1.1, on each connection anew.
#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_follow_the_version_that_is_fallen_back_to() {
    let (mut scene, broker) = with(Version::V5).await;
    scene.mqtt.version = MqttVersion::Auto;
    broker.forget_mqtt5(Some(WithoutMqtt5::InMqtt5));
    let mut listening = Listening::start(&scene, &["to/{thing}"], 10);
    for connections in 1..=2 {
        let state = listening.state(|state| state.is_connected() && state.connections == connections).await;
        assert_eq!(state.version, Some(Version::V3_1_1));
        until(|| broker.record().subscribes.len() == connections as usize).await;
        broker.send_direct("robot1", Message { topic: "to/robot1".into(), payload: "go".into(), ..Message::default() });
        assert_eq!(listening.arrival().await.payload, "go");
        scene.link.cut();
    }
    listening.state(|state| state.is_connected() && state.connections == 3).await;
    listening.stop().await;
}

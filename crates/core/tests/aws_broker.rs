//! The broker that stands in for AWS IoT Core in these tests keeps its word, seen by rumqttc's own clients.

use std::sync::Arc;
use std::time::Duration;

use crate::support::aws_broker::{Account, AckFaults, AwsBroker, Limits, Message, Refusal, Verdict};
use crate::support::certificates::{Authority, Valid};
use rumqttc::v5::mqttbytes::v5::{PubAckReason, PublishProperties, SubscribeReasonCode};
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, LastWill, MqttOptions, QoS, TlsConfiguration, Transport, v5};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::time::timeout;

/// Longest wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for what must not come.
const A_WHILE: Duration = Duration::from_millis(300);

fn tls(authority: &Authority, client: Option<&Authority>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let identity = client.issue(&["robot1"], Valid::Now);
            let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(identity.private_key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    }
}

fn options(id: &str, broker: &AwsBroker, tls: ClientConfig) -> MqttOptions {
    let mut options = MqttOptions::new(id, "localhost", broker.port);
    options
        .set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::new(tls))))
        .set_max_packet_size(1 << 20, 1 << 20)
        .set_inflight(1000);
    options
}

/// A client that the broker has accepted.
async fn client(id: &str, broker: &AwsBroker, authority: &Authority) -> (AsyncClient, EventLoop) {
    let (client, mut event_loop) = AsyncClient::new(options(id, broker, tls(authority, Some(authority))), 1000);
    assert!(matches!(poll(&mut event_loop).await, Some(Event::Incoming(Incoming::ConnAck(_)))));
    (client, event_loop)
}

/// The next event; nothing if the connection has ended.
async fn poll(event_loop: &mut EventLoop) -> Option<Event> {
    timeout(PATIENCE, event_loop.poll()).await.expect("nothing happens").ok()
}

/// Goes on until the connection ends or is quiet; answers the packet identifiers of the PUBACKs, and whether it ended.
async fn pubacks(event_loop: &mut EventLoop) -> (Vec<u16>, bool) {
    let mut pubacks = Vec::new();
    loop {
        match timeout(A_WHILE, event_loop.poll()).await {
            Ok(Ok(Event::Incoming(Incoming::PubAck(ack)))) => pubacks.push(ack.pkid),
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return (pubacks, true),
            Err(_) => return (pubacks, false),
        }
    }
}

/// Publishes once on a fresh connection; answers whether there was a PUBACK, and whether the connection ended.
async fn publish(
    broker: &AwsBroker,
    authority: &Authority,
    topic: &str,
    qos: QoS,
    payload: usize,
    retain: bool,
) -> (bool, bool) {
    let (client, mut event_loop) = client("robot1", broker, authority).await;
    client.try_publish(topic, qos, retain, vec![0; payload]).unwrap();
    let (pubacks, ended) = pubacks(&mut event_loop).await;
    (!pubacks.is_empty(), ended)
}

fn patient() -> Limits {
    Limits { between_connects: Duration::ZERO, ..Limits::documented() }
}

/// Without a certificate, with another authority's, or without the ALPN of port 443 there is no connection.
#[tokio::test]
async fn lets_in_only_whom_it_should() {
    let (authority, other) = (Authority::new("Test CA"), Authority::new("Another CA"));
    let broker = AwsBroker::start_with(&authority, patient(), true).await;
    let mut with_alpn = tls(&authority, Some(&authority));
    with_alpn.alpn_protocols = vec![b"x-amzn-mqtt-ca".to_vec()];
    let mut with_other_alpn = with_alpn.clone();
    with_other_alpn.alpn_protocols = vec![b"http/1.1".to_vec()];
    for (tls, accepted) in [
        (with_alpn, true),
        (with_other_alpn, false),
        (tls(&authority, Some(&authority)), false),
        (tls(&authority, Some(&other)), false),
        (tls(&authority, None), false),
    ] {
        let (_client, mut event_loop) = AsyncClient::new(options("robot1", &broker, tls), 10);
        assert_eq!(poll(&mut event_loop).await.is_some(), accepted);
    }
}

/// Payloads, topics, QoS, policy: within the limits there is a PUBACK, outside the connection ends without one.
#[tokio::test]
async fn closes_over_what_it_does_not_take() {
    let authority = Authority::new("Test CA");
    let broker = AwsBroker::start(&authority, patient()).await;
    broker.forbid("secret");
    let topic = "x".repeat(256);
    for (topic, qos, payload, taken) in [
        ("a", QoS::AtLeastOnce, 131_072, true),
        ("a", QoS::AtLeastOnce, 131_073, false),
        ("a", QoS::AtLeastOnce, 200_000, false),
        ("a/b/c/d/e/f/g/h", QoS::AtLeastOnce, 1, true),
        ("a/b/c/d/e/f/g/h/i", QoS::AtLeastOnce, 1, false),
        (&topic, QoS::AtLeastOnce, 1, true),
        (&format!("{topic}x"), QoS::AtLeastOnce, 1, false),
        (&format!("$aws/rules/logs/{topic}"), QoS::AtLeastOnce, 1, true),
        ("$aws/rules/logs/a/b/c/d/e/f/g/h", QoS::AtLeastOnce, 1, true),
        ("$aws/rules/logs/a/b/c/d/e/f/g/h/i", QoS::AtLeastOnce, 1, false),
        ("a", QoS::ExactlyOnce, 1, false),
        ("secret", QoS::AtLeastOnce, 1, false),
    ] {
        let outcome = publish(&broker, &authority, topic, qos, payload, false).await;
        assert_eq!(outcome, (taken, !taken), "{topic} {qos:?} {payload}");
    }
    assert_eq!(publish(&broker, &authority, "a", QoS::AtLeastOnce, 1, true).await, (true, false));
    broker.forbid_retain();
    assert_eq!(publish(&broker, &authority, "a", QoS::AtLeastOnce, 1, true).await, (false, true));
}

/// Of 150 publishes at once 100 are acknowledged; the record says the rest were over the rate.
#[tokio::test]
async fn does_not_acknowledge_what_is_over_the_rate() {
    let authority = Authority::new("Test CA");
    let broker = AwsBroker::start(&authority, patient()).await;
    let (client, mut event_loop) = client("robot1", &broker, &authority).await;
    (0..150).for_each(|_| client.try_publish("a", QoS::AtLeastOnce, false, "x").unwrap());
    assert_eq!(pubacks(&mut event_loop).await, ((1..=100).collect(), false));
    let record = broker.record();
    assert_eq!(record.violations(), vec![("a", Verdict::OverRate); 50]);
    assert_eq!(record.most_publishes_in_a_second(), 150);
}

/// Publishes over the bytes of a second wait for the next.
#[tokio::test]
async fn delays_what_is_over_the_bytes() {
    let authority = Authority::new("Test CA");
    let broker = AwsBroker::start(&authority, patient()).await;
    let (client, mut event_loop) = client("robot1", &broker, &authority).await;
    (0..5).for_each(|_| client.try_publish("a", QoS::AtLeastOnce, false, vec![0; 120_000]).unwrap());
    assert_eq!(pubacks(&mut event_loop).await, ((1..=4).collect(), false));
    assert_eq!(broker.record().delayed, 1);
    let later = async { while pubacks(&mut event_loop).await.0.is_empty() {} };
    timeout(PATIENCE, later).await.expect("the fifth is never acknowledged");
}

/// A second CONNECT within a second is closed without a word; one that is late enough takes the place of the first.
#[tokio::test]
async fn a_client_id_has_one_connection() {
    let authority = Authority::new("Test CA");
    let limits = Limits { between_connects: A_WHILE, ..Limits::documented() };
    let broker = AwsBroker::start(&authority, limits).await;
    let (_first, mut first) = client("robot1", &broker, &authority).await;
    let (_early, mut early) = AsyncClient::new(options("robot1", &broker, tls(&authority, Some(&authority))), 10);
    assert!(poll(&mut early).await.is_none());
    tokio::time::sleep(A_WHILE).await;
    let _second = client("robot1", &broker, &authority).await;
    assert!(poll(&mut first).await.is_none());
    let accepted: Vec<bool> = broker.record().connects.iter().map(|connect| connect.accepted).collect();
    assert_eq!(accepted, [true, false, true]);
}

/// PUBACKs are lost and come late as asked; connections are refused, kicked and frozen; a silent one is closed. The will
/// of each client that ends without DISCONNECT is published and retained.
#[tokio::test]
async fn misbehaves_on_demand() {
    let authority = Authority::new("Test CA");
    let short = Duration::from_millis(500);
    let broker = AwsBroker::start(&authority, Limits { keep_alive: short..=short, ..patient() }).await;
    let (client, mut event_loop) = client("robot1", &broker, &authority).await;
    broker.ack_faults(AckFaults { lost: 0.3, late: 0.5, late_by: Duration::from_millis(50) });
    (0..60).for_each(|_| client.try_publish("a", QoS::AtLeastOnce, false, "x").unwrap());
    let (came, _) = pubacks(&mut event_loop).await;
    assert!((20..60).contains(&came.len()) && !came.is_sorted(), "{came:?}");
    broker.kick("robot1");
    assert!(poll(&mut event_loop).await.is_none());

    for refusal in [Refusal::Silently, Refusal::NotAuthorized, Refusal::Unavailable] {
        broker.refuse(Some(refusal));
        assert!(poll(&mut event_loop).await.is_none());
    }
    broker.refuse(None);

    let mut options = options("robot1", &broker, tls(&authority, Some(&authority)));
    options.set_last_will(LastWill::new("status", "offline", QoS::AtLeastOnce, true));
    let (client, mut event_loop) = AsyncClient::new(options, 10);
    assert!(poll(&mut event_loop).await.is_some());
    broker.freeze("robot1");
    client.try_publish("a", QoS::AtLeastOnce, false, "x").unwrap();
    assert_eq!(pubacks(&mut event_loop).await, (vec![], false));
    drop((client, event_loop));

    let (_client, mut event_loop) =
        AsyncClient::new(self::options("robot2", &broker, tls(&authority, Some(&authority))), 10);
    event_loop.mqtt_options.set_last_will(LastWill::new("status", "offline", QoS::AtLeastOnce, true));
    assert!(poll(&mut event_loop).await.is_some());
    assert!(poll(&mut event_loop).await.is_none(), "it was silent for too long");
    assert_eq!(broker.record().silent, 1);
    assert_eq!(broker.record().wills, [("status".into(), "offline".into())]);
    assert_eq!(broker.retained("status").as_deref(), Some(&b"offline"[..]));
}

/// In MQTT 5 the CONNACK tells the limits, and a PUBACK why a publish is not taken; aliases stand for topics.
#[tokio::test]
async fn gives_reasons_in_mqtt_5() {
    let authority = Authority::new("Test CA");
    let broker = AwsBroker::start(&authority, patient()).await;
    broker.forbid("secret");
    let mut options = v5::MqttOptions::new("robot1", "localhost", broker.port);
    options.set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::new(tls(&authority, Some(&authority))))));
    options.set_outgoing_inflight_upper_limit(100);
    let (client, mut event_loop) = v5::AsyncClient::new(options, 200);
    let mut next = async || timeout(PATIENCE, event_loop.poll()).await.expect("nothing happens").unwrap();
    let v5::Event::Incoming(v5::Incoming::ConnAck(connack)) = next().await else { panic!("no CONNACK") };
    let told = connack.properties.unwrap();
    assert_eq!((told.receive_max, told.max_qos, told.max_packet_size), (Some(100), Some(1), Some(149_504)));
    assert_eq!((told.topic_alias_max, told.retain_available), (Some(8), Some(1)));

    let qos = v5::mqttbytes::QoS::AtLeastOnce;
    let alias = || PublishProperties { topic_alias: Some(1), ..Default::default() };
    client.try_publish_with_properties("a", qos, false, "x", alias()).unwrap();
    client.try_publish_with_properties("", qos, false, "x", alias()).unwrap();
    client.try_publish("secret", qos, false, "x").unwrap();
    (0..99).for_each(|_| client.try_publish("b", qos, false, "x").unwrap());
    let mut reasons = Vec::new();
    while reasons.len() < 102 {
        if let v5::Event::Incoming(v5::Incoming::PubAck(ack)) = next().await {
            reasons.push(ack.reason);
        }
    }
    assert_eq!(reasons[..3], [PubAckReason::Success, PubAckReason::Success, PubAckReason::NotAuthorized]);
    assert_eq!(reasons[101], PubAckReason::QuotaExceeded);
    broker.forbid_filter("secret/#");
    let filter = |filter: &str| v5::mqttbytes::v5::Filter::new(filter, qos);
    client.try_subscribe_many([filter("a"), filter("secret/#")]).unwrap();
    let granted = loop {
        if let v5::Event::Incoming(v5::Incoming::SubAck(ack)) = next().await {
            break ack.return_codes;
        }
    };
    assert_eq!(granted, [SubscribeReasonCode::Success(qos), SubscribeReasonCode::NotAuthorized]);
    let record = broker.record();
    assert!(record.arrivals[1].topic == "a" && record.arrivals[1].properties.by_alias);
    assert_eq!(record.violations(), [("secret", Verdict::Forbidden), ("b", Verdict::OverRate)]);
}

/// What the cloud publishes reaches who has subscribed, with the QoS of the subscription at most and the properties of MQTT 5;
/// what is sent directly reaches whoever may receive it. What has expired is delivered to nobody, what is retained only
/// to who subscribes to that very topic, and no more is under way than the client takes.
#[tokio::test]
async fn delivers_what_the_cloud_says() {
    let authority = Authority::new("Test CA");
    let broker = AwsBroker::start(&authority, patient()).await;
    let statement = json!({"Effect": "Allow", "Action": "*", "Resource": ["*"]});
    let but = json!({"Effect": "Deny", "Action": "iot:Receive", "Resource": "p:topic/not"});
    broker.enforce(Account {
        prefix: "p:".into(),
        documents: vec![json!({"Statement": [statement, but]})],
        things: vec![],
        attached: String::new(),
    });
    let message = |topic: &str, payload: &'static str| Message {
        topic: topic.into(),
        payload: payload.into(),
        qos: 1,
        response_topic: Some("answers".into()),
        correlation_data: Some("7".into()),
        expires_in: Some(60),
        ..Message::default()
    };
    broker.publish(Message { retain: true, ..message("a/kept", "kept") });
    broker.publish(Message { retain: true, expires_in: Some(0), ..message("a/old", "old") });
    assert_eq!((broker.retained("a/kept"), broker.retained("a/old")), (Some("kept".into()), None));
    let mut options = v5::MqttOptions::new("robot1", "localhost", broker.port);
    options.set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::new(tls(&authority, Some(&authority))))));
    options.set_receive_maximum(Some(2)).set_manual_acks(true);
    let (client, mut event_loop) = v5::AsyncClient::new(options, 200);
    let mut next = async || loop {
        match timeout(PATIENCE, event_loop.poll()).await.expect("nothing happens").unwrap() {
            v5::Event::Incoming(v5::Incoming::Publish(publish)) => return Some(publish),
            v5::Event::Incoming(v5::Incoming::SubAck(_) | v5::Incoming::ConnAck(_)) => return None,
            _ => {}
        }
    };
    assert_eq!(next().await, None, "the CONNACK");
    let (once, at_least) = (v5::mqttbytes::QoS::AtMostOnce, v5::mqttbytes::QoS::AtLeastOnce);
    let filter = v5::mqttbytes::v5::Filter::new;
    client.try_subscribe_many([filter("a/#", at_least), filter("b", once), filter("not", at_least)]).unwrap();
    assert_eq!(next().await, None, "the SUBACK, and nothing retained by a wildcard");
    client.try_subscribe("a/kept", at_least).unwrap();
    assert_eq!(next().await, None);
    let kept = next().await.unwrap();
    assert_eq!((&*kept.payload, kept.retain, kept.qos), (&b"kept"[..], true, at_least));
    let properties = kept.properties.as_ref().unwrap();
    assert_eq!(
        (properties.response_topic.as_deref(), properties.correlation_data.as_deref()),
        (Some("answers"), Some(&b"7"[..]))
    );
    assert_eq!(properties.message_expiry_interval, Some(60));

    broker.publish(message("b", "with QoS 0"));
    broker.publish(message("not", "not to be received"));
    broker.publish(message("elsewhere", "not subscribed to"));
    broker.send_direct("robot1", message("not", "neither"));
    broker.send_direct("robot1", message("elsewhere", "directly"));
    broker.publish(message("a/b", "waits for a PUBACK"));
    broker.publish(message("b", "passes it"));
    let (first, direct, passing) = (next().await.unwrap(), next().await.unwrap(), next().await.unwrap());
    assert_eq!((&*first.payload, first.qos), (&b"with QoS 0"[..], once));
    assert_eq!((&*direct.payload, direct.qos, &*direct.topic), (&b"directly"[..], at_least, &b"elsewhere"[..]));
    assert_eq!(&*passing.payload, b"passes it");
    client.try_ack(&kept).unwrap();
    let waited = next().await.unwrap();
    assert_eq!((&*waited.payload, waited.pkid), (&b"waits for a PUBACK"[..], 3));
    assert_eq!(broker.record().pubacks, [(kept.pkid, PubAckReason::Success)]);
    assert_eq!(broker.record().denied, ["robot1: iot:Receive topic/not"; 2]);
}

/// The sentences of the developer guide on policies, each with what it allows and what not.
#[test]
fn evaluates_policies_as_documented() {
    const PREFIX: &str = "arn:aws:iot:eu-west-1:123456789012:";
    let allow = |action: &str, resource: &str| json!({ "Effect": "Allow", "Action": [action], "Resource": format!("{PREFIX}{resource}") });
    let account = |statements: &[serde_json::Value]| Account {
        prefix: PREFIX.into(),
        documents: statements.iter().map(|statement| json!({ "Statement": [statement] })).collect(),
        things: vec!["robot1".into(), "robot2".into()],
        attached: "robot1".into(),
    };
    let thing = "${iot:Connection.Thing.ThingName}";
    let attached = json!({ "Bool": { "iot:Connection.Thing.IsAttached": "true" } });
    let mut connect = allow("iot:Connect", &format!("client/{thing}"));
    let unconditional = connect.clone();
    connect["Condition"] = attached;
    let mut deny = allow("iot:Publish", "topic/a/b");
    deny["Effect"] = "Deny".into();
    for (statements, client_id, action, resource, allowed) in [
        // What nothing allows is denied; policies allow together; what one denies stays denied.
        (vec![], "robot1", "iot:Publish", "topic/a", false),
        (
            vec![allow("iot:Publish", "topic/a"), allow("iot:Publish", "topic/b")],
            "robot1",
            "iot:Publish",
            "topic/b",
            true,
        ),
        (vec![allow("iot:Publish", "topic/a")], "robot1", "iot:RetainPublish", "topic/a", false),
        (vec![allow("iot:Publish", "topic/a")], "robot1", "iot:Receive", "topic/a", false),
        (vec![allow("iot:Publish", "topic/*"), deny.clone()], "robot1", "iot:Publish", "topic/a/b", false),
        (vec![deny, allow("iot:*", "*")], "robot1", "iot:Publish", "topic/a/c", true),
        // `*` is any combination of characters, also across levels; `?` is any single one.
        (vec![allow("iot:Publish", "topic/a/*")], "robot1", "iot:Publish", "topic/a/b/c", true),
        (vec![allow("iot:Publish", "topic/a/*")], "robot1", "iot:Publish", "topic/a", false),
        (vec![allow("iot:Publish", "topic/a/*/c")], "robot1", "iot:Publish", "topic/a/b/b/c", true),
        (vec![allow("iot:Publish", "topic/a/*/c")], "robot1", "iot:Publish", "topic/a/b/d", false),
        (vec![allow("iot:Publish", "topic/a?")], "robot1", "iot:Publish", "topic/ab", true),
        (vec![allow("iot:Publish", "topic/a?")], "robot1", "iot:Publish", "topic/a", false),
        // The wildcards of MQTT are ordinary characters, and a filter is no topic.
        (vec![allow("iot:Subscribe", "topicfilter/a/#")], "robot1", "iot:Subscribe", "topicfilter/a/#", true),
        (vec![allow("iot:Subscribe", "topicfilter/a/#")], "robot1", "iot:Subscribe", "topicfilter/a/b", false),
        (vec![allow("iot:Subscribe", "topicfilter/a/+/c")], "robot1", "iot:Subscribe", "topicfilter/a/b/c", false),
        (vec![allow("iot:Subscribe", "topicfilter/a/*")], "robot1", "iot:Subscribe", "topicfilter/a/+/c", true),
        (vec![allow("iot:Receive", "topic/a/#")], "robot1", "iot:Receive", "topic/a/b", false),
        // Variables are values, and a client id with a wildcard in it is none.
        (vec![allow("iot:Publish", "topic/${iot:ClientId}/a")], "any", "iot:Publish", "topic/any/a", true),
        (vec![allow("iot:Publish", "topic/${iot:ClientId}")], "*", "iot:Publish", "topic/robot2", false),
        (vec![allow("iot:Publish", "topic/${*}")], "robot1", "iot:Publish", "topic/robot2", false),
        (vec![allow("iot:Publish", "topic/${iot:Unknown}")], "robot1", "iot:Publish", "topic/${iot:Unknown}", false),
        (vec![allow("iot:Publish", &format!("topic/{thing}"))], "robot1", "iot:Publish", "topic/robot1", true),
        (vec![allow("iot:Publish", &format!("topic/{thing}"))], "robot1", "iot:Publish", "topic/robot2", false),
        (vec![allow("iot:Publish", &format!("topic/{thing}"))], "other", "iot:Publish", "topic/robot1", false),
        // The thing is the one that is called as the client id, attached to the certificate or not.
        (vec![unconditional.clone()], "robot2", "iot:Connect", "client/robot2", true),
        (vec![connect.clone()], "robot2", "iot:Connect", "client/robot2", false),
        (vec![connect.clone()], "robot1", "iot:Connect", "client/robot1", true),
        (vec![connect], "other", "iot:Connect", "client/other", false),
    ] {
        let found = account(&statements).allows(client_id, action, resource);
        assert_eq!(found, allowed, "{statements:?}: {client_id} {action} {resource}");
    }
}

//! The uplink through an HTTP proxy.

use crate::support::aws_broker::{AwsBroker, Limits};
use crate::support::link::Link;
use crate::support::port::Port;
use crate::support::proxy::HttpProxy;
use crate::support::scene::Scene;
use iot_bridge_core::config::{Proxy, ProxySource, Version};
use iot_bridge_core::mqtt::FaultKind;

/// Of `robot:s ecret`.
const CREDENTIALS: &str = "cm9ib3Q6cyBlY3JldA==";

/// The broker's name, which nobody can look up (RFC 6761).
const NAME: &str = "broker.invalid";

/// A scene with a broker that only a proxy finds, and the proxy.
async fn scene(version: Version) -> (Scene, AwsBroker, HttpProxy) {
    let mut scene = Scene::set().await;
    let mut broker = AwsBroker::start_as(&scene.authority, Limits::without_rates(), NAME).await;
    let proxy = HttpProxy::start(CREDENTIALS).await;
    scene.link = Link::open(broker.port).await;
    (scene.aws.endpoint, scene.aws.port) = (NAME.into(), scene.link.port());
    scene.mqtt.version = version.into();
    scene.observer.watch(&mut broker.messages);
    (scene, broker, proxy)
}

fn url(url: &str) -> Option<ProxySource> {
    Some(ProxySource::Url(Proxy::parse(url).unwrap()))
}

/// With name and password the proxy makes a tunnel to a broker whose name it alone knows; TLS goes inside it, with the
/// broker's own certificate; what was admitted arrives, through a lost connection too.
#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_through_a_proxy() {
    for version in [Version::V3_1_1, Version::V5] {
        let (mut scene, _broker, proxy) = scene(version).await;
        scene.mqtt.proxy = url(&format!("http://robot:s%20ecret@localhost:{}", proxy.port));
        let mut running = scene.run();
        (0..500).for_each(|number| scene.admit(number));
        scene.receive(500).await;
        scene.link.cut();
        running.connected(2).await;
        (500..1000).for_each(|number| scene.admit(number));
        scene.receive(1000).await;
        scene.acknowledged(1000).await;
        assert_eq!(proxy.requests(), vec![format!("CONNECT {NAME}:{} HTTP/1.1", scene.aws.port); 2]);
        assert_eq!(running.stop().await, 0);
    }
}

/// A proxy that refuses, one that wants another password, one that does not reach the broker, and one that is not there
/// are told apart; once the proxy is as it should be, what waited arrives.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_proxy_are_told_apart() {
    let (mut scene, _broker, proxy) = scene(Version::V5).await;
    scene.admit(0);
    let nobody = Port::reserve();
    for (credentials, port, kind, words) in [
        (
            "robot:secret@",
            proxy.port,
            FaultKind::ProxyAuthentication,
            "does not accept its user name and password (407)",
        ),
        ("", proxy.port, FaultKind::ProxyAuthentication, "asks for a user name and a password (407)"),
        ("", nobody.number(), FaultKind::Refused, "refuses connections"),
    ] {
        scene.mqtt.proxy = url(&format!("http://{credentials}localhost:{port}"));
        let mut running = scene.run();
        let sentence = running.fault(kind).await;
        assert_eq!(sentence, format!("the proxy localhost:{port} {words}"));
        assert_eq!(running.stop().await, 1);
    }
    scene.mqtt.proxy = url(&format!("http://robot:s%20ecret@localhost:{}", proxy.port));
    scene.link.shut().await;
    let mut running = scene.run();
    let sentence = running.fault(FaultKind::Unreachable).await;
    let target = format!("{NAME}:{}", scene.aws.port);
    assert_eq!(sentence, format!("the proxy localhost:{} does not reach {target} (502 Bad Gateway)", proxy.port));
    scene.link.reopen().await;
    scene.receive(1).await;
    scene.acknowledged(1).await;
    assert_eq!(running.stop().await, 0);
}

/// With the URL in a file, the file is read for each attempt: what is wrong with it is said without its content, and heals.
#[tokio::test(flavor = "multi_thread")]
async fn the_url_comes_from_a_file() {
    let (mut scene, _broker, proxy) = scene(Version::V3_1_1).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "robot:s%20ecret@localhost").unwrap();
    scene.mqtt.proxy = Some(ProxySource::File { url_file: file.path().to_owned() });
    let mut running = scene.run();
    scene.admit(0);
    let sentence = running.fault(FaultKind::Credentials).await;
    assert!(sentence.contains("holds no URL of a proxy") && !sentence.contains("ecret"), "{sentence}");
    std::fs::write(&file, format!("http://robot:s%20ecret@localhost:{}\n", proxy.port)).unwrap();
    scene.receive(1).await;
    scene.acknowledged(1).await;
    assert_eq!(running.stop().await, 0);
}

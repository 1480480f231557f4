//! The bridge where nodes find each other by Fast DDS's discovery server.

use std::net::UdpSocket;
use std::process::{Command, Stdio};

use crate::support::killed_on_drop::KilledOnDrop;
use crate::support::program::Program;
use crate::support::robot::{Robot, numbered, publish};
use crate::support::stage::Stage;

/// The discovery server that comes with Fast DDS.
fn server(port: u16) -> KilledOnDrop {
    let port = port.to_string();
    let mut command = Command::new("fast-discovery-server");
    command.args(["-i", "0", "-l", "127.0.0.1", "-p", &port]).stdin(Stdio::null()).stdout(Stdio::null());
    KilledOnDrop(command.spawn().expect("fast-discovery-server is on the path where ROS is sourced"))
}

/// A topic without `type` is received also where a discovery server tells each node only what concerns it: the bridge
/// asks for the whole graph, unless it is told otherwise, and says which it does.
#[allow(unsafe_code, reason = "rcl reads the variable of the process")]
#[tokio::test(flavor = "multi_thread")]
async fn topics_without_a_type_are_found_through_a_discovery_server() {
    let mut stage = Stage::set().await;
    // UDP, and free a moment ago.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _server = server(port);
    let server = format!("127.0.0.1:{port}");
    let variables = [("ROS_DISCOVERY_SERVER", server.as_str())];
    let config = stage.configure("[[topics]]\nros = \"/numbers\"\npayload = \"data\"\n");
    let mut program = Program::start_with(&config, &variables);
    let up = program.await_log("The ROS node is up");
    assert!(up.contains(&format!("discovery server {server} (super client).")), "{up}");
    // It is found by its name still, as by `pgrep -x`.
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", program.id())).unwrap();
    assert_eq!(comm, "iot-bridge\n");

    // SAFETY: the only thread that reads it is this one, which starts a node next.
    unsafe { std::env::set_var("ROS_DISCOVERY_SERVER", &server) };
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 10);
    Robot::await_subscriber(&publisher);
    publish(&publisher, numbered(7));
    let (topic, payload) = stage.observer.next().await;
    assert_eq!((topic.as_str(), payload.as_ref()), ("robots/robot1/numbers", numbered(7).as_bytes()));
    assert_eq!(program.terminate().code(), Some(0));

    // What the owner has set stays.
    let mut client = Program::start_with(&config, &[variables[0], ("ROS_SUPER_CLIENT", "FALSE")]);
    client.await_log("(client, which does not see topics without a `type`)");
    assert_eq!(client.terminate().code(), Some(0));
}

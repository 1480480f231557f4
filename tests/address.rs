//! The robot's address changes while the bridge runs.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::itself;
use crate::support::killed_on_drop::KilledOnDrop;
use crate::support::own_network::{self, Machine};
use crate::support::program::Program;
use crate::support::stage::Stage;
use r2r::QosProfile;
use r2r::std_msgs::msg::String as RosString;

const TEST: &str = "address::nodes_of_before_and_after_a_change_of_address_are_received";

/// Set in a process that is a node: what it calls itself.
const NAME: &str = "IOT_BRIDGE_TEST_NODE";

const ANYWHERE: (&str, &str) = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET");

/// As the package's unit has it. The nodes have shared memory.
const NO_SHARED_MEMORY: (&str, &str) = ("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4");

/// A node in a process of its own, which publishes its name and a number twenty times a second.
fn start_node(name: &str, mut command: Command) -> KilledOnDrop {
    let command = command.args(itself::arguments(TEST)).env(NAME, name).envs([ANYWHERE]);
    KilledOnDrop(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
}

/// Publishes until the test is gone, if this process is a node.
fn was_a_node() -> bool {
    let Ok(name) = std::env::var(NAME) else { return false };
    let mut node = r2r::Node::create(r2r::Context::create().unwrap(), "a_node", "").unwrap();
    let qos = QosProfile::default().keep_last(50).transient_local();
    let publisher = node.create_publisher::<RosString>("/numbers", qos).unwrap();
    std::thread::spawn(move || {
        for number in 0.. {
            publisher.publish(&RosString { data: format!("{name} {number}") }).unwrap();
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    true
}

/// What has come from each node.
#[derive(Default)]
struct Received(BTreeMap<String, Vec<usize>>);

impl Received {
    /// Waits until ten messages more than now have come from each of `names`.
    async fn await_more(&mut self, stage: &mut Stage, names: &[&str]) {
        stage.observer.rest().iter().for_each(|(_, payload)| self.note(payload));
        let count = |received: &Received, name: &str| received.0.get(name).map_or(0, Vec::len);
        let wanted: Vec<_> = names.iter().map(|name| (*name, count(self, name) + 10)).collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Some((name, _)) = wanted.iter().find(|(name, wanted)| count(self, name) < *wanted) {
            assert!(Instant::now() < deadline, "nothing comes from {name:?}: {:?}", self.0);
            self.note(&stage.observer.next().await.1);
        }
    }

    fn note(&mut self, payload: &[u8]) {
        let (name, number) = std::str::from_utf8(payload).unwrap().rsplit_once(' ').unwrap();
        self.0.entry(name.to_owned()).or_default().push(number.parse().unwrap());
    }
}

/// When the robot gets another address, ROS is joined anew. Nodes that start afterwards are received, on the robot and on
/// another machine, and those that were there before still are; nothing comes twice, and nothing is lost of the
/// robot's own. The connection to the broker stands.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_before_and_after_a_change_of_address_are_received() {
    if was_a_node() || !own_network::enter(TEST) {
        return;
    }
    let mut stage = Stage::set().await;
    let machine = Machine::at_a_cable();
    own_network::add_address("10.77.0.1/24");
    machine.add_address("10.77.0.2/24");
    machine.add_address("10.78.0.2/24");
    let config = stage.configure("[[topics]]\nros = \"/numbers\"\npayload = \"data\"\ndepth = 1000\n");
    let mut program = Program::start_with(&config, &[ANYWHERE, NO_SHARED_MEMORY]);
    let program_itself = itself::program();
    let mut received = Received::default();

    let here = start_node("here before", Command::new(&program_itself));
    let there = start_node("there before", machine.command(&program_itself));
    received.await_more(&mut stage, &["here before", "there before"]).await;

    own_network::remove_address("10.77.0.1/24");
    own_network::add_address("10.78.0.1/24");
    let line = program.await_log("ROS is joined anew");
    assert!(line.contains("(10.78.0.1 has come, 10.77.0.1 has gone)"), "{line}");
    let others = [
        start_node("here after", Command::new(&program_itself)),
        start_node("there after", machine.command(&program_itself)),
    ];
    received.await_more(&mut stage, &["here before", "there before", "here after", "there after"]).await;

    // Those of before are received from when the others are there, too, and the context has had its time for discovery.
    tokio::time::sleep(Duration::from_secs(8)).await;
    received.await_more(&mut stage, &["here before", "there before", "here after", "there after"]).await;

    // Where the first nodes are heard does not depend on the second address.
    own_network::remove_address("10.78.0.1/24");
    own_network::add_address("10.79.0.1/24");
    received.await_more(&mut stage, &["here before"]).await;
    let report = program.report();
    assert_eq!(report.connection.connections, 1);
    drop((here, there, others));
    for (name, numbers) in &received.0 {
        assert!(numbers.is_sorted_by(|one, next| one < next), "{name}: {numbers:?}");
    }
    let own = &received.0["here before"];
    assert!(own.windows(2).all(|pair| pair[1] == pair[0] + 1), "{own:?}");
    assert!(program.terminate().success());
    assert_eq!(program.log_lines("ROS is joined anew").len(), 1);
}

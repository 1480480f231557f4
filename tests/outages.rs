//! The whole program, from DDS to the broker, while the broker or the link fails.

use crate::support::program::Program;
use crate::support::robot::{Robot, Stream, number_in};
use crate::support::stage::Stage;

/// Five topics at 100 messages a second each.
const TOPICS: usize = 5;
const RATE: u32 = 100;

/// Most records that can have been in flight when a connection was lost.
const WINDOW: usize = 100;

fn configuration() -> String {
    let mut text = "[mqtt]\nack_timeout = \"2 s\"\n[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"2 s\"\n".to_owned();
    for topic in 0..TOPICS {
        text += &format!("[[topics]]\nros = \"/numbers/t{topic}\"\npayload = \"data\"\ndepth = 5000\n");
    }
    text
}

/// Starts the bridge and a stream of 500 messages a second, of which the first have arrived.
async fn streaming() -> (Stage, Program, Stream, Receipts) {
    let mut stage = Stage::set().await;
    let program = Program::start(&stage.configure(&configuration()));
    let mut robot = Robot::start();
    let publishers: Vec<_> = (0..TOPICS).map(|topic| robot.publisher(&format!("/numbers/t{topic}"), 5000)).collect();
    publishers.iter().for_each(Robot::await_subscriber);
    let stream = Stream::start(robot, publishers, RATE, usize::MAX);
    let mut receipts = Receipts::default();
    receipts.await_count(&mut stage, 100).await;
    (stage, program, stream, receipts)
}

/// What has arrived at the observer.
#[derive(Default)]
struct Receipts {
    /// First receipts of each topic, which come in order.
    first: [usize; TOPICS],
    duplicates: usize,
}

impl Receipts {
    /// Takes receipts until `count` first ones of all topics together have come.
    async fn await_count(&mut self, stage: &mut Stage, count: usize) {
        while self.first.iter().sum::<usize>() < count {
            let (topic, payload) = stage.observer.next().await;
            let topic: usize = topic.strip_prefix("robots/robot1/numbers/t").unwrap().parse().unwrap();
            let number = number_in(&payload);
            assert!(number <= self.first[topic], "{number} of topic {topic} came before {}", self.first[topic]);
            if number == self.first[topic] {
                self.first[topic] += 1;
            } else {
                self.duplicates += 1;
            }
        }
    }

    /// Takes `count` further first receipts.
    async fn await_more(&mut self, stage: &mut Stage, count: usize) {
        let so_far: usize = self.first.iter().sum();
        self.await_count(stage, so_far + count).await;
    }
}

/// Ends the stream, and checks that all of it has arrived and was acknowledged, with no more duplicates than
/// `lost_connections` account for.
async fn check(
    mut stage: Stage,
    mut program: Program,
    stream: Stream,
    mut receipts: Receipts,
    lost_connections: usize,
) {
    let published = stream.stop();
    let count = published.count;
    receipts.await_count(&mut stage, published.count * TOPICS).await;
    assert!(receipts.duplicates <= lost_connections * WINDOW, "{} duplicates", receipts.duplicates);
    assert_eq!(program.terminate().code(), Some(0));
    for topic in 0..TOPICS {
        let account = program.log_lines(&format!("Topic /numbers/t{topic}:")).pop().expect("an account at the end");
        let expected = format!("{count} received, {count} acknowledged, 0 dropped, 0 left");
        assert!(account.contains(&expected), "{account}");
    }
}

/// The broker is killed during a stream of 500 messages a second and started again: every message arrives, in order
/// within its topic, and only what was in flight arrives twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_loses_nothing() {
    let (mut stage, mut program, stream, mut receipts) = streaming().await;
    for _ in 0..2 {
        stage.mosquitto.kill();
        stage.link.shut().await;
        program.await_note("refuses connections");
        stage.mosquitto.start_again();
        // The observer first: a broker acknowledges also what nobody has subscribed to.
        let port = stage.mosquitto.port();
        stage.observer.subscribe(port).await;
        stage.link.reopen().await;
        receipts.await_more(&mut stage, 2000).await;
    }
    check(stage, program, stream, receipts, 2).await;
}

/// The broker stands still for longer than the bridge waits for a PUBACK, and goes on: the bridge connects anew, every
/// message arrives, in order within its topic.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stands_still_loses_nothing() {
    let (mut stage, program, stream, mut receipts) = streaming().await;
    stage.mosquitto.pause();
    program.await_log("Lost the connection");
    stage.mosquitto.resume();
    receipts.await_more(&mut stage, 2000).await;
    let connections = program.log_lines("Lost the connection").len() + 1;
    check(stage, program, stream, receipts, connections).await;
}

/// The link is cut again and again, in the middle of whatever passes: every message arrives, in order within its topic.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_cut_loses_nothing() {
    let (mut stage, program, stream, mut receipts) = streaming().await;
    const CUTS: usize = 5;
    for _ in 0..CUTS {
        stage.link.cut();
        receipts.await_more(&mut stage, 700).await;
    }
    check(stage, program, stream, receipts, CUTS).await;
}

/// A broker that is down when the bridge starts is normal: what is published meanwhile is queued, and arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_later_gets_everything() {
    let mut stage = Stage::set().await;
    stage.link.shut().await;
    let mut program = Program::start(&stage.configure(&configuration()));
    let note = program.await_note("STATUS=Not connected");
    assert!(note.contains("refuses connections"), "{note}");
    let mut robot = Robot::start();
    let publishers: Vec<_> = (0..TOPICS).map(|topic| robot.publisher(&format!("/numbers/t{topic}"), 5000)).collect();
    publishers.iter().for_each(Robot::await_subscriber);
    let published = Stream::start(robot, publishers, RATE, 200).join();
    stage.link.reopen().await;
    let mut receipts = Receipts::default();
    receipts.await_count(&mut stage, published.count * TOPICS).await;
    assert_eq!(receipts.duplicates, 0);
    assert_eq!(program.terminate().code(), Some(0));
}

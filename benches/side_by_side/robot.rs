//! The robot of the measurement: publishes marked messages of any type at any rate, at the cost of C.
//!
//! Its publishers are reliable and keep a thousand messages, so that what is lost was lost by who receives.

#[allow(dead_code, reason = "shared with parts that need the rest of it")]
mod mark;
#[allow(dead_code, reason = "shared with parts that need the rest of it")]
mod plan;
mod schedule;
#[allow(dead_code, reason = "shared with parts that need the rest of it")]
mod told;

use std::thread;
use std::time::Duration;

use iot_bridge::ros::TypeSupport;
use iot_bridge_core::codec::Encoder;
use r2r::{PublisherUntyped, QosProfile};

use plan::{Plan, Topic};
use schedule::Schedule;
use told::{Published, Told};

/// What is published on a topic.
struct Flow {
    publisher: PublisherUntyped,
    cdr: Vec<u8>,
    mark: usize,
    share: f64,
}

impl Flow {
    fn new(node: &mut r2r::Node, topic: &Topic) -> Flow {
        let qos = QosProfile::default().keep_last(1000);
        let publisher = node.create_publisher_untyped(&topic.ros, &topic.type_name, qos).expect("r2r knows the type");
        let types = TypeSupport::load(&topic.type_name).expect("the type is sourced");
        let encoder =
            Encoder::new(types.schema(), &types.defaults().expect("defaults"), &[]).expect("an ordinary type");
        let mut cdr = Vec::new();
        encoder.encode(topic.message.get().as_bytes(), &mut cdr).expect("a message of that type");
        Flow { publisher, mark: mark::place(&cdr), cdr, share: topic.share }
    }
}

fn main() {
    let plan = Plan::read();
    let mut node = r2r::Node::create(r2r::Context::create().unwrap(), "robot", "").unwrap();
    let mut flows: Vec<Flow> = plan.topics.iter().map(|topic| Flow::new(&mut node, topic)).collect();
    let mut next = 0;
    let told = told::listen();
    told::say_ready();
    while let Ok(what) = told.recv() {
        match what {
            Told::Match => {
                let is_matched = |flow: &Flow| flow.publisher.get_inter_process_subscription_count().unwrap() > 0;
                while !flows.iter().all(is_matched) {
                    thread::sleep(Duration::from_millis(5));
                }
                told::say(&mark::now());
            }
            Told::Publish { rate, seconds } => {
                let mut schedule = Schedule::start(flows.iter().map(|flow| rate * flow.share), seconds);
                while let Some(wait) = schedule.next() {
                    if let Ok(Told::Stop) = told.try_recv() {
                        break;
                    }
                    thread::sleep(wait);
                    schedule.each_due(|topic, number| {
                        let flow = &mut flows[topic];
                        mark::write(&mut flow.cdr, flow.mark, next + number, mark::now());
                        flow.publisher.publish_raw(&flow.cdr).unwrap();
                    });
                }
                let published = Published { first: next, counts: schedule.counts(), seconds: schedule.elapsed() };
                next += published.counts.iter().max().unwrap();
                told::say(&published);
            }
            // What it is to stop is over.
            Told::Stop => {}
            other => panic!("a robot does not {other:?}"),
        }
    }
}

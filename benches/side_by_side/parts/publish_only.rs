//! A reference: a process that publishes what the bridge would, from memory, with QoS 1 and one thread that wakes for a message
//! and for its PUBACK.

use std::io;
use std::process;
use std::time::Duration;

use iot_bridge::ros::TypeSupport;
use iot_bridge_core::codec::{Decoder, Encoder, JsonBuffer};
use rumqttc::{AsyncClient, Event, Incoming, QoS};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::plan::{Plan, Topic};
use crate::schedule::Schedule;
use crate::told::{self, Published, Told};
use crate::{mark, mqtt};

struct Flow {
    topic: String,
    payload: Vec<u8>,
    mark: usize,
    share: f64,
}

impl Flow {
    fn new(client_id: &str, topic: &Topic) -> Flow {
        let types = TypeSupport::load(&topic.type_name).expect("the type is sourced");
        let encoder =
            Encoder::new(types.schema(), &types.defaults().expect("defaults"), &[]).expect("an ordinary type");
        let mut cdr = Vec::new();
        encoder.encode(topic.message.get().as_bytes(), &mut cdr).expect("a message of that type");
        let mut text = JsonBuffer::new(usize::MAX);
        Decoder::new(types.schema().clone()).unwrap().write_json(&cdr, &mut text).expect("it was encoded so");
        let payload = text.as_bytes().to_vec();
        Flow { topic: format!("{client_id}{}", topic.ros), mark: mark::place(&payload), payload, share: topic.share }
    }
}

#[tokio::main(flavor = "current_thread")]
pub async fn run(plan: Plan) {
    let broker = plan.broker.expect("a broker");
    let mut flows: Vec<Flow> = plan.topics.iter().map(|topic| Flow::new(&broker.client_id, topic)).collect();
    let (client, mut event_loop) = AsyncClient::new(mqtt::options(&broker), 100);
    tokio::spawn(async move {
        loop {
            if let Event::Incoming(Incoming::ConnAck(_)) = event_loop.poll().await.expect("the broker stays") {
                told::say_ready();
            }
        }
    });
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for what in told::listen() {
            let _ = sender.send(what);
        }
        process::exit(0);
    });
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).unwrap();
    #[allow(deprecated, reason = "it stays open, and the same, for as long as it is registered")]
    let timer = AsyncFd::new(timer).unwrap();
    let mut next = 0;
    while let Some(what) = told.recv().await {
        let Told::Publish { rate, seconds } = what else { continue };
        let mut schedule = Schedule::start(flows.iter().map(|flow| rate * flow.share), seconds);
        while let Some(wait) = schedule.next() {
            if let Ok(Told::Stop) = told.try_recv() {
                break;
            }
            elapse(&timer, wait).await;
            let mut due = Vec::new();
            schedule.each_due(|topic, number| due.push((topic, number)));
            for (topic, number) in due {
                let Flow { topic, payload, mark, .. } = &mut flows[topic];
                mark::write(payload, *mark, next + number, mark::now());
                let published = client.publish(topic.as_str(), QoS::AtLeastOnce, false, payload.as_slice());
                published.await.expect("the event loop runs");
            }
        }
        let published = Published { first: next, counts: schedule.counts(), seconds: schedule.elapsed() };
        next += published.counts.iter().max().unwrap();
        told::say(&published);
    }
}

/// Waits, more exactly than tokio's milliseconds.
async fn elapse(timer: &AsyncFd<std::os::fd::OwnedFd>, wait: Duration) {
    // Zero would be never.
    let wait = wait.max(Duration::from_nanos(1));
    let it_value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
    let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value }).unwrap();
    let read = |timer: &std::os::fd::OwnedFd| rustix::io::read(timer, &mut [0; 8]).map_err(io::Error::from);
    timer.async_io(tokio::io::Interest::READABLE, read).await.unwrap();
}

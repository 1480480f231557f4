//! `iot-bridge preview`: what would be published for a topic, without a broker.

use std::io::{self, Write};
use std::num::NonZeroU64;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, sleep};

use super::{asked_to_stop, fail, refuse};
use crate::bridge;
use crate::ros::{self, Node, Receiver, Sample, Silence, TopicState, another_definition};
use iot_bridge_core::codec::{Decoders, Schema};
use iot_bridge_core::config::PAYLOAD_LIMIT;
use iot_bridge_core::config::{self, DEFAULT_DIRECTORY, Patterns, Payload, Problems};
use iot_bridge_core::packing::{Compression, Packing};
use iot_bridge_core::provisioning;
use iot_bridge_core::queue::sequence_by_clock;
use iot_bridge_core::shaping::{CountedAs, Scratch};
use iot_bridge_core::tally::{DropReason, counted};

/// After this long without a message somebody should hear why.
const PATIENCE: Duration = Duration::from_secs(3);

/// Messages between the ROS thread and a slow terminal; what does not fit is left out, and said.
const BACKLOG: usize = 1000;

pub fn execute(config: Option<&Path>, topic: &str, count: Option<NonZeroU64>) -> ExitCode {
    if let Err(exit) = super::distribution::expect_the_sourced() {
        return exit;
    }
    let (thing, settings) = match topics(config, topic) {
        Ok(found) => found,
        Err(problems) => return refuse(&problems),
    };
    match show(&thing, settings, count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

/// The thing's name and the configured entries of `topic`; the defaults where there is none.
fn topics(config: Option<&Path>, topic: &str) -> Result<(String, Vec<config::Topic>), Problems> {
    const UNKNOWN_THING: &str = "thing";
    if config.is_none() && !config::is_there(Path::new(DEFAULT_DIRECTORY)) {
        let default = config::default_topic(UNKNOWN_THING, topic)?;
        eprintln!("There is no configuration yet; showing {} with the defaults.", default.ros);
        return Ok((UNKNOWN_THING.to_owned(), vec![default]));
    }
    let mut settings = config::load(config, std::env::vars_os())?.settings;
    provisioning::identify(&mut settings.aws);
    let default = config::default_topic(&settings.aws.thing, topic)?;
    // Its type is not known yet.
    if let Some(place) = Patterns::of(&settings.topics).entry_of(&default.ros, &[]) {
        let entry = &settings.topics[place];
        eprintln!("{} is found by {}.", default.ros, entry.ros);
        return Ok((settings.aws.thing, vec![entry.found(&default.ros, "")]));
    }
    let configured: Vec<_> = settings.topics.into_iter().filter(|entry| entry.ros == default.ros).collect();
    if configured.is_empty() {
        eprintln!("{} is not configured; showing it with the defaults.", default.ros);
        return Ok((settings.aws.thing, vec![default]));
    }
    Ok((settings.aws.thing, configured))
}

#[tokio::main(flavor = "current_thread")]
async fn show(thing: &str, topics: Vec<config::Topic>, count: Option<NonZeroU64>) -> anyhow::Result<()> {
    let mut stop = pin!(asked_to_stop()?);
    let node = Node::create("iot_bridge_preview", "")?;
    let (shown, mut lines) = mpsc::channel(BACKLOG);
    let wanted = topics.iter().map(bridge::wanted).collect();
    let names: Vec<String> = topics.iter().map(|topic| topic.ros.clone()).collect();
    let topics = topics.into_iter().map(|settings| Previewed { settings, opened: None }).collect();
    let publishers = Arc::new(AtomicUsize::new(0));
    let preview = Preview {
        thing: thing.to_owned(),
        topics,
        shown,
        left_out: 0,
        scratch: Scratch::new(),
        publishers: Arc::clone(&publishers),
    };
    // Ends with this function, also when the terminal has gone.
    let _thread = ros::spawn_patient(node, wanted, preview, PATIENCE)?;
    let mut printed = 0;
    let mut patience = pin!(sleep(PATIENCE));
    // Whether it was said that nothing comes, and there was a publisher then.
    let mut told = None;
    while count.is_none_or(|count| printed < count.get()) {
        tokio::select! {
            _ = &mut stop => break,
            line = lines.recv() => match line {
                Some(Line::Payload { bytes, raw, heading }) => {
                    printed += 1;
                    eprintln!("{heading}");
                    let mut stdout = io::stdout().lock();
                    stdout.write_all(&bytes)?;
                    if !raw {
                        stdout.write_all(b"\n")?;
                    }
                    stdout.flush()?;
                }
                Some(Line::Remark(text)) => eprintln!("{text}"),
                None => anyhow::bail!("the ROS thread died"),
            },
            () = &mut patience, if printed == 0 && told != Some(true) => {
                let publishers = publishers.load(Ordering::Relaxed);
                if told.is_none() || publishers > 0 {
                    eprintln!("{}", nothing_yet(&names[0], publishers, ros::is_udp_alone()));
                }
                told = Some(publishers > 0);
                patience.as_mut().reset(Instant::now() + PATIENCE);
            }
        }
    }
    Ok(())
}

/// What is said after [`PATIENCE`] without a message, with so many publishers that would deliver.
fn nothing_yet(topic: &str, publishers: usize, is_udp_alone: bool) -> String {
    let waiting = "waiting. Ctrl-C ends it.";
    if publishers == 0 {
        return format!("No message on {topic} yet; {waiting}");
    }
    let who = counted(publishers as u64, "publisher", "publishers");
    let seconds = PATIENCE.as_secs();
    let why = if is_udp_alone {
        format!(
            "The service would receive nothing either. If `ros2 topic hz {topic}`, as the user whose node it is, shows \
             messages, something stands in the way of UDP on this network, such as a firewall"
        )
    } else {
        "FASTDDS_BUILTIN_TRANSPORTS lets Fast DDS use shared memory, through which nothing comes from another user's \
         nodes; the service does without, and so does preview where that is not set"
            .to_owned()
    };
    format!("{who} of {topic}, and nothing received in {seconds} s; {waiting} {why}.")
}

/// What the ROS thread has to say.
enum Line {
    Payload { bytes: Bytes, raw: bool, heading: String },
    Remark(String),
}

/// What is published for one record, before compression.
fn published(topic: &config::Topic, mqtt: &str, record: Bytes) -> Line {
    let packing = Packing::of(topic, mqtt);
    let plain = Packing { compression: None, ..packing.clone() };
    let (bytes, sent) = (plain.pack(std::slice::from_ref(&record)).payload, packing.pack(&[record]));
    if sent.payload.len() > PAYLOAD_LIMIT {
        let reason = DropReason::TooLarge.label();
        let length = sent.payload.len();
        let remark = format!("{} -> nothing: it would be dropped ({reason}): it has {length} bytes.", topic.ros);
        return Line::Remark(remark);
    }
    let (to, size) = match (sent.encoding, &packing.compression) {
        (Some(encoding), Some(Compression { topic, .. })) => {
            let size = format!("{} bytes, {} with {}", bytes.len(), sent.payload.len(), encoding.label());
            (topic.as_deref().unwrap_or(mqtt), size)
        }
        _ => (mqtt, format!("{} bytes", bytes.len())),
    };
    Line::Payload { heading: format!("{} -> {to} ({size})", topic.ros), raw: topic.payload == Payload::Cdr, bytes }
}

struct Preview {
    thing: String,
    topics: Vec<Previewed>,
    shown: mpsc::Sender<Line>,
    left_out: u64,
    scratch: Scratch,
    /// Publishers of the topic that would deliver.
    publishers: Arc<AtomicUsize>,
}

struct Previewed {
    settings: config::Topic,
    opened: Option<bridge::Opened>,
}

impl Preview {
    fn say(&mut self, line: Line) {
        match self.shown.try_send(line) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => self.left_out += 1,
        }
    }
}

impl Receiver for Preview {
    fn opened(&mut self, index: usize, schema: &Arc<Schema>) {
        let topic = &mut self.topics[index];
        topic.opened = None;
        match bridge::open(&topic.settings, &self.thing, schema, sequence_by_clock(), &mut Decoders::default()) {
            Ok(opened) => topic.opened = Some(opened),
            Err(error) => {
                let remark = format!("{} can't be forwarded: {error:#}.", topic.settings.ros);
                self.say(Line::Remark(remark));
            }
        }
    }

    fn received(&mut self, index: usize, sample: &Sample<'_>) {
        if self.left_out > 0 {
            let left_out = counted(self.left_out, "message", "messages");
            let remark = format!("{left_out} came faster than what could be printed.");
            if self.shown.try_send(Line::Remark(remark)).is_ok() {
                self.left_out = 0;
            }
        }
        let topic = &mut self.topics[index];
        let Some(bridge::Opened { shaper, mqtt, .. }) = &mut topic.opened else { return };
        let line = match shaper.shape(sample.cdr, sample.source_ns, sample.received_ns, &mut self.scratch) {
            Ok(record) => published(&topic.settings, mqtt, record),
            Err(refused) => {
                let counted_as = match refused.counted_as() {
                    CountedAs::Dropped(reason) => format!("it would be dropped ({})", reason.label()),
                    CountedAs::Shaped(reason) => format!("it is not wanted ({})", reason.label()),
                };
                Line::Remark(format!("{} -> nothing: {counted_as}: {refused}.", topic.settings.ros))
            }
        };
        self.say(line);
    }

    fn unreadable(&mut self, _: usize) {}

    fn lost(&mut self, _: usize, _: u64) {}

    fn refused(&mut self, _: usize, _: &'static str, _: u64) {}

    fn changed(&mut self, index: usize, state: TopicState) {
        if let TopicState::Subscribed { publishers, .. } = &state {
            self.publishers.store(*publishers, Ordering::Relaxed);
        }
        let trouble = match state {
            TopicState::Trouble(trouble) => format!("can't be received: {trouble}"),
            TopicState::Subscribed { type_name, publishers, redefined: redefined @ 1.., .. } => {
                format!("can't be read: {}", another_definition(&type_name, redefined, publishers))
            }
            TopicState::Unknown | TopicState::Subscribed { .. } => return,
        };
        let remark = format!("{} {trouble}.", self.topics[index].settings.ros);
        self.say(Line::Remark(remark));
    }

    fn silent(&mut self, index: usize, silence: Option<Silence>) {
        if let Some(silence) = silence {
            let remark = format!("{}.", silence.sentence(&self.topics[index].settings.ros));
            self.say(Line::Remark(remark));
        }
    }

    fn turned(&mut self) {}
}

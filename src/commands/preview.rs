//! `iot-bridge preview`: what would be published for a topic, without a broker.

mod entries;
mod stages;

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
use entries::Wish;
use iot_bridge_core::codec::Schema;
use iot_bridge_core::config::PAYLOAD_LIMIT;
use iot_bridge_core::config::{self, Payload, Version};
use iot_bridge_core::packing::{Compression, Packing};
use iot_bridge_core::price::{metered_bytes, steps};
use iot_bridge_core::shaping::{Scratch, moment};
use iot_bridge_core::tally::{DropReason, counted};
use stages::{Outcome, Stages};

/// After this long without a message somebody should hear why.
const PATIENCE: Duration = Duration::from_secs(3);

/// Messages between the ROS thread and a slow terminal; what does not fit is left out, and said.
const BACKLOG: usize = 1000;

pub fn execute(config: Option<&Path>, topic: &str, count: Option<NonZeroU64>, explain: bool) -> ExitCode {
    if let Err(exit) = super::distribution::expect_the_sourced() {
        return exit;
    }
    let wish = match Wish::load(config, topic) {
        Ok(wish) => wish,
        Err(problems) => return refuse(&problems),
    };
    match show(wish, count, explain) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn show(wish: Wish, count: Option<NonZeroU64>, explain: bool) -> anyhow::Result<()> {
    let (thing, version) = (wish.thing.clone(), wish.version);
    let mut stop = pin!(asked_to_stop()?);
    let node = Node::create("iot_bridge_preview", "")?;
    let topics = tokio::select! {
        _ = &mut stop => return Ok(()),
        topics = wish.topics(&node) => topics?,
    };
    let (shown, mut lines) = mpsc::channel(BACKLOG);
    let wanted = topics.iter().map(bridge::wanted).collect();
    let names: Vec<String> = topics.iter().map(|topic| topic.ros.clone()).collect();
    let topics = topics.into_iter().map(|settings| Previewed { settings, stages: None, is_told: false }).collect();
    let publishers = Arc::new(AtomicUsize::new(0));
    let preview = Preview {
        thing,
        version,
        explain,
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
                Some(Line::Explained(text)) => {
                    printed += 1;
                    writeln!(io::stdout(), "{text}")?;
                }
                Some(Line::Payload { bytes, raw, heading }) => {
                    printed += 1;
                    let mut stdout = io::stdout().lock();
                    if explain { writeln!(stdout, "{heading}")? } else { eprintln!("{heading}") }
                    stdout.write_all(&bytes)?;
                    if !raw {
                        stdout.write_all(b"\n")?;
                    }
                    stdout.flush()?;
                }
                Some(Line::Gathered(text)) => writeln!(io::stdout(), "{text}")?,
                Some(Line::Remark(text)) => eprintln!("{text}"),
                Some(Line::HeldBack(text)) => {
                    told = Some(true);
                    eprintln!("{text}");
                }
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
    Payload {
        bytes: Bytes,
        raw: bool,
        heading: String,
    },
    /// Of a message that makes no payload, for `--explain`.
    Explained(String),
    /// Of a message that is in a window, for `--explain`. The window's record counts for both.
    Gathered(String),
    Remark(String),
    /// Messages come, and do not travel.
    HeldBack(String),
}

/// What is published for one record, before compression.
fn published(topic: &config::Topic, mqtt: &str, version: Version, record: Bytes) -> Result<Published, String> {
    let packing = Packing::of(topic, mqtt);
    let plain = Packing { compression: None, ..packing.clone() };
    let (bytes, sent) = (plain.pack(std::slice::from_ref(&record)).payload, packing.pack(&[record]));
    if sent.payload.len() > PAYLOAD_LIMIT {
        let reason = DropReason::TooLarge.label();
        let length = sent.payload.len();
        return Err(format!("it would be dropped ({reason}): it has {length} bytes"));
    }
    let (to, size) = match (sent.encoding, &packing.compression) {
        (Some(encoding), Some(Compression { topic, .. })) => {
            let size = format!("{} bytes, {} with {}", bytes.len(), sent.payload.len(), encoding.label());
            (topic.as_deref().unwrap_or(mqtt), size)
        }
        _ => (mqtt, format!("{} bytes", bytes.len())),
    };
    let metered = metered_bytes(version, to, sent.payload.len(), packing.content_type(), sent.encoding);
    Ok(Published { heading: format!("{} -> {to} ({size})", topic.ros), metered, bytes })
}

/// What is published for a record, by itself.
struct Published {
    heading: String,
    /// Bytes that AWS IoT Core counts.
    metered: usize,
    bytes: Bytes,
}

struct Preview {
    thing: String,
    version: Version,
    explain: bool,
    topics: Vec<Previewed>,
    shown: mpsc::Sender<Line>,
    left_out: u64,
    scratch: Scratch,
    /// Publishers of the topic that would deliver.
    publishers: Arc<AtomicUsize>,
}

struct Previewed {
    settings: config::Topic,
    stages: Option<Stages>,
    /// Whether it was said that messages do not travel.
    is_told: bool,
}

impl Preview {
    fn say(&mut self, line: Line) {
        match self.shown.try_send(line) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => self.left_out += 1,
        }
    }

    /// Says what has become of a message or window of a topic: `said` is what its stages say. Returns whether it travels.
    fn tell(&mut self, index: usize, outcome: Outcome, said: &[String]) -> bool {
        let (explain, version) = (self.explain, self.version);
        let topic = &mut self.topics[index];
        let Some(stages) = &topic.stages else { return false };
        let settings = &topic.settings;
        let explained = |last: String| [said, &[last]].concat().join("\n  ");
        let nothing = |why: String| {
            if explain {
                Line::Explained(explained(format!("-> nothing: {why}.")))
            } else {
                Line::Remark(format!("{} -> nothing: {why}.", settings.ros))
            }
        };
        let line = match outcome {
            Outcome::Record(record) => match published(settings, stages.mqtt(), version, record) {
                Ok(Published { heading, metered, bytes }) => {
                    let steps = counted(steps(metered), "step", "steps");
                    let heading = if explain {
                        explained(format!("{heading}: {metered} bytes are counted, {steps} of 5,120"))
                    } else {
                        heading
                    };
                    Line::Payload { heading, raw: settings.payload == Payload::Cdr, bytes }
                }
                Err(why) => nothing(why),
            },
            Outcome::Dropped(why) => nothing(why),
            Outcome::Shaped(reason) if explain => nothing(format!("it counts as shaped ({})", reason.label())),
            Outcome::Gathered if explain => {
                Line::Gathered(explained("-> nothing: the window travels when it ends.".to_owned()))
            }
            Outcome::Shaped(_) | Outcome::Gathered if std::mem::replace(&mut topic.is_told, true) => return false,
            Outcome::Shaped(_) | Outcome::Gathered => {
                let ros = &settings.ros;
                Line::HeldBack(format!("Not every message of {ros} travels by itself; `--explain` tells of each."))
            }
        };
        let travels = matches!(line, Line::Payload { .. });
        self.say(line);
        travels
    }

    /// Says of a message that it makes nothing whatever is in it, for `--explain`.
    fn tell_nothing(&mut self, index: usize, why: &str) {
        if self.explain {
            let ros = &self.topics[index].settings.ros;
            let text = format!("{ros}: a message\n  -> nothing: {why}.");
            self.say(Line::Explained(text));
        }
    }

    /// Shows the windows whose time is over.
    fn close_windows(&mut self, now: std::time::Instant) {
        for index in 0..self.topics.len() {
            let stages = self.topics[index].stages.as_mut();
            if let Some((outcome, messages)) = stages.and_then(|stages| stages.close(now, &mut self.scratch)) {
                let ros = &self.topics[index].settings.ros;
                let said = format!("{ros}: the window of {} has ended", counted(messages, "message", "messages"));
                self.tell(index, outcome, &[said]);
            }
        }
    }
}

impl Receiver for Preview {
    fn opened(&mut self, index: usize, schema: &Arc<Schema>) {
        let topic = &mut self.topics[index];
        topic.stages = None;
        match Stages::open(&topic.settings, &self.thing, schema) {
            Ok(stages) => topic.stages = Some(stages),
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
        self.close_windows(moment(sample.received_ns));
        let Some(stages) = &mut self.topics[index].stages else {
            return self.tell_nothing(index, "its topic can't be forwarded as configured");
        };
        let heading = stages.heading(sample);
        let (outcome, mut said) = stages.message(sample, &mut self.scratch);
        said.insert(0, heading);
        if self.tell(index, outcome, &said)
            && let Some(stages) = &mut self.topics[index].stages
        {
            stages.travels(sample);
        }
    }

    fn unreadable(&mut self, index: usize) {
        self.tell_nothing(index, "its publisher has another definition of its type");
    }

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
            TopicState::Subscribed { unmatched: Some(unmatched), .. } => unmatched.sentence(),
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

    fn turned(&mut self) {
        self.close_windows(std::time::Instant::now());
    }

    fn wake_at(&self) -> Option<std::time::Instant> {
        self.topics.iter().filter_map(|topic| topic.stages.as_ref()?.window_ends()).min()
    }
}

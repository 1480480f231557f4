//! `iot-bridge-things send`: what was acknowledged, and how fast.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Participant, end, participants};
use crate::cli::SendArgs;
use crate::plural;
use crate::stop::Stop;

/// What became of a thing's messages.
struct Outcome {
    name: String,
    topic: String,
    /// How long each acknowledged one took.
    latencies: Vec<Duration>,
    failure: Option<String>,
}

pub async fn execute(arguments: SendArgs) -> Result<(), Stop> {
    let message = message(&arguments.message, arguments.json_message.as_deref())?;
    let participants = participants(&arguments.traffic, true)?;
    let (count, begun) = (participants.len(), Instant::now());
    let mut running = JoinSet::new();
    for participant in participants {
        let message = message.clone();
        running.spawn(send(participant, message, arguments.traffic.duration, arguments.interval));
    }
    let mut outcomes = running.join_all().await;
    outcomes.sort_by(|one, other| one.name.cmp(&other.name));
    let mut all: Vec<Duration> = Vec::new();
    for outcome in &outcomes {
        let Outcome { name, topic, latencies, .. } = outcome;
        if !latencies.is_empty() {
            println!("{name}  {} acknowledged on {topic}{}", latencies.len(), speed(latencies.clone()));
        }
        all.extend(latencies);
    }
    println!(
        "{} of {} acknowledged in {:.1} s{}",
        plural(all.len(), "message"),
        plural(count, "thing"),
        begun.elapsed().as_secs_f64(),
        speed(all)
    );
    let failures: Vec<String> = outcomes.into_iter().filter_map(|outcome| outcome.failure).collect();
    end(&failures, count)
}

async fn send(participant: Participant, message: Value, duration: Duration, every: Duration) -> Outcome {
    let mut latencies = Vec::new();
    let failure = publish(&participant, &message, duration, every, &mut latencies).await.err();
    Outcome { name: participant.name, topic: participant.topic, latencies, failure }
}

/// A message at once, and then one each `every`, for `duration`.
async fn publish(
    participant: &Participant,
    message: &Value,
    duration: Duration,
    every: Duration,
    latencies: &mut Vec<Duration>,
) -> Result<(), String> {
    let mut session = participant.connect().await?;
    let mut next = Instant::now();
    let end = next + duration;
    while next < end {
        let lost = session.idle(next).await;
        lost.map_err(|fault| participant.words("the connection is lost", &fault, true))?;
        let payload = Bytes::from(payload(message).to_string());
        let took = session.publish(&participant.topic, participant.qos, payload).await;
        latencies.push(took.map_err(|fault| participant.words("can't publish", &fault, true))?);
        next = Instant::now().max(next + every);
    }
    let lost = session.idle(end).await;
    lost.map_err(|fault| participant.words("the connection is lost", &fault, true))?;
    session.leave().await;
    Ok(())
}

fn payload(message: &Value) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    json!({ "ts": u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), "msg": message })
}

fn message(text: &str, file: Option<&Path>) -> Result<Value, Stop> {
    let Some(path) = file else { return Ok(text.into()) };
    let text = std::fs::read_to_string(path).map_err(Stop::file("read", path))?;
    serde_json::from_str(&text).map_err(|error| Stop::Usage(format!("{} holds no JSON: {error}", path.display())))
}

fn speed(mut latencies: Vec<Duration>) -> String {
    latencies.sort();
    let milliseconds = |latency: &Duration| latency.as_secs_f64() * 1000.0;
    match (latencies.get(latencies.len() / 2), latencies.last()) {
        (Some(median), Some(slowest)) => {
            format!(", median {:.1} ms, slowest {:.1} ms", milliseconds(median), milliseconds(slowest))
        }
        _ => String::new(),
    }
}

//! `iot-bridge-things subscribe`: prints what arrives.

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::{Participant, end, participants};
use crate::cli::SubscribeArgs;
use crate::plural;
use crate::stop::Stop;

pub async fn execute(arguments: SubscribeArgs) -> Result<(), Stop> {
    let participants = participants(&arguments.traffic, false)?;
    let count = participants.len();
    let mut running = JoinSet::new();
    for participant in participants {
        running.spawn(async move { listen(&participant, arguments.traffic.duration).await });
    }
    let results = running.join_all().await;
    let arrived: usize = results.iter().flatten().sum();
    println!("{} of {} arrived.", plural(arrived, "message"), plural(count, "thing"));
    let failures: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    end(&failures, count)
}

/// Returns how many messages have arrived.
async fn listen(participant: &Participant, duration: std::time::Duration) -> Result<usize, String> {
    let Participant { name, topic, qos, .. } = participant;
    let mut session = participant.connect().await?;
    let granted = session.subscribe(topic, *qos).await;
    granted.map_err(|fault| participant.words("can't subscribe", &fault, true))?;
    eprintln!("{name}: subscribed to {topic}.");
    let (end, mut arrived) = (Instant::now() + duration, 0);
    while let Ok(arrival) = timeout_at(end, session.arrival()).await {
        let arrival = arrival.map_err(|fault| participant.words("the connection is lost", &fault, true))?;
        println!("{name}  {}  {}", arrival.topic, String::from_utf8_lossy(&arrival.payload));
        arrival.taken();
        arrived += 1;
    }
    if session.missed() > 0 {
        eprintln!("{name}: {} more came too fast to be shown.", plural(session.missed() as usize, "message"));
    }
    session.leave().await;
    Ok(arrived)
}

//! The watch over the running bridge: it tells systemd how it is, and that it lives only while it does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Balance, Sources, status_line, systemd};
use iot_bridge_core::tally::{Heartbeat, ticks};

/// How often the watch looks, where the watchdog does not ask for more.
const LOOK: Duration = Duration::from_secs(1);

/// How long a stage may be silent, where there is no watchdog.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stages give a sign of life twice a second; whatever the watchdog's limit, less than this proves nothing.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(1);

/// What is watched.
pub struct Watched {
    pub sources: Sources,
    pub balance: Balance,
    /// Each stage's name and pulse.
    pub stages: Vec<(&'static str, Arc<Heartbeat>)>,
}

/// Watches until it is dropped.
pub async fn watch(mut watched: Watched) {
    let limit = systemd::watchdog();
    // systemd asks for a sign of life at half its limit (sd_watchdog_enabled(3)); a third leaves room for one delay.
    let mut ticks = ticks(limit.map_or(LOOK, |limit| LOOK.min(limit / 3)));
    let patience = limit.map_or(PATIENCE, |limit| (limit / 2).max(SHORTEST_PATIENCE));
    let mut uplink = watched.sources.uplink.clone();
    let mut said = String::new();
    let mut stuck = Vec::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = uplink.changed() => if changed.is_err() { return },
        }
        // The queue's own progress shows here: were its lock never released, nothing below would run.
        let figures = watched.sources.queue.figures();
        let (topics, now) = (watched.sources.topics.configured(), Instant::now());
        let leaving = watched.sources.topics.leaving(now);
        let replies = watched.sources.topics.all_replies();
        let all = topics.iter().chain(&replies).chain(leaving.iter().map(|left| &left.health));
        all.for_each(|topic| topic.sample(now));
        let line = {
            let uplink = uplink.borrow_and_update();
            watched.balance.look(now, &uplink, &topics);
            let behind = watched.balance.behind();
            status_line(&uplink, &watched.sources.configuration.read(), (figures, behind), &topics, now)
        };
        if line != said {
            systemd::status(&line);
            said = line;
        }
        let now_stuck = without_progress(&watched.stages, patience);
        if now_stuck.is_empty() {
            systemd::alive();
        }
        for stage in now_stuck.iter().filter(|stage| !stuck.contains(*stage)) {
            tracing::error!(stage, "The {stage} stage makes no progress; a watchdog would restart the bridge.");
        }
        for stage in stuck.iter().filter(|stage| !now_stuck.contains(*stage)) {
            tracing::warn!(stage, "The {stage} stage makes progress again.");
        }
        stuck = now_stuck;
    }
}

/// The stages whose last beat is longer ago than `limit`.
fn without_progress(stages: &[(&'static str, Arc<Heartbeat>)], limit: Duration) -> Vec<&'static str> {
    stages.iter().filter(|(_, heartbeat)| heartbeat.age() > limit).map(|(stage, _)| *stage).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_without_a_beat_is_named() {
        let (alive, hung) = (Arc::new(Heartbeat::new()), Arc::new(Heartbeat::new()));
        let stages = [("ros", Arc::clone(&alive)), ("uplink", hung)];
        std::thread::sleep(Duration::from_millis(30));
        alive.beat();
        assert_eq!(without_progress(&stages, Duration::from_millis(20)), ["uplink"]);
        assert!(without_progress(&stages, Duration::from_secs(60)).is_empty());
    }
}

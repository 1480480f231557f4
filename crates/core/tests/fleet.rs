//! A thousand robots whose configuration is in the cloud, over mutual TLS at a broker with AWS's limits.

mod robot;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::support::aws_broker::{AwsBroker, Limits, Record};
use crate::support::certificates::{Authority, Valid};
use iot_bridge_core::remote::Spread;
use robot::{Fleet, Running, SHADOW, thing};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::task::JoinSet;

const ROBOTS: usize = 1000;

const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether all are done.
const LOOK: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);

/// For each connection one file at the robot and one at the broker.
fn allow_files(count: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    limit.current = Some(limit.current.unwrap_or(u64::MAX).max(count).min(most));
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(most >= count, "this process may open {most} files, and needs {count}");
}

/// A topic for all robots in the place of the local one.
fn push(broker: &AwsBroker, version: &str) {
    for number in 0..ROBOTS {
        let topic = json!({"ros": "/pushed", "mqtt": format!("fleet/{{thing}}/{version}")});
        let desired = json!({"version": version, "config": {"topics": [topic]}});
        broker.update_shadow(&thing(number), SHADOW, json!({ "desired": desired }));
    }
}

/// Waits until each robot has reported that this version is in force; without one, the local configuration. Returns how long it
/// took since then.
async fn applied(broker: &AwsBroker, version: Option<&str>, since: Instant) -> Duration {
    let mut left: Vec<String> = (0..ROBOTS).map(thing).collect();
    while !left.is_empty() {
        let first = broker.shadow(&left[0], SHADOW);
        assert!(since.elapsed() < PATIENCE, "{} robots have not applied {version:?}, for example {first}", left.len());
        tokio::time::sleep(LOOK).await;
        left.retain(|thing| {
            let reported = &broker.shadow(thing, SHADOW)["reported"];
            assert!(reported["problems"].is_null(), "{reported}");
            reported["version"].as_str() != version || reported["state"] != "applied"
        });
    }
    since.elapsed()
}

/// Most of these within a second, wherever that second begins.
fn busiest_second(times: &[Instant]) -> usize {
    let within =
        |(first, at): (usize, &Instant)| times[first..].iter().take_while(|other| **other < *at + SECOND).count();
    times.iter().enumerate().map(within).max().unwrap_or(0)
}

/// When something came to topics that end like this, from `since` on.
fn times(record: &Record, ending: &str, since: Instant) -> Vec<Instant> {
    let arrivals = record.arrivals.iter().filter(|arrival| arrival.at >= since && arrival.topic.ends_with(ending));
    arrivals.map(|arrival| arrival.at).collect()
}

/// That robots have asked for their shadows at random times over `asked_over`, and have reported at such times over
/// `reported_over` after that, and no more often than needed.
fn check_waves(record: &Record, since: Instant, (asked_over, reported_over): (Duration, Duration)) {
    for (request, over) in [("get", asked_over), ("update", reported_over)] {
        let times = times(record, &format!("/shadow/name/{SHADOW}/{request}"), since);
        let (count, most, mean) = (times.len(), busiest_second(&times), ROBOTS as f64 / over.as_secs_f64());
        let early = times.iter().filter(|at| **at < since + over / 2).count();
        println!(
            "Of {count} {request}s {most} come within a second, of {mean:.0} on average; {early} in the first half."
        );
        assert!(most as f64 <= 2.0 * mean, "{most} {request}s within a second, of {mean:.0} on average");
        // A busy machine but delays them.
        assert!(early <= ROBOTS * 2 / 3, "{early} {request}s within half of {over:?}");
        // One more where something newer has overtaken an answer.
        let most = if request == "get" { ROBOTS * 11 / 10 } else { ROBOTS };
        assert!((ROBOTS..=most).contains(&count), "{count} {request}s");
    }
}

/// A thousand robots get a push in one moment, and another while the broker restarts. All apply it: it stands on their disks as
/// confirmed, after a PUBACK of a record of its topic, and is reported. Their requests come in no wave: of the thousand `get`s over
/// four seconds after the push, and over eight after the restart, and of the thousand reports over four, no second has more
/// than twice the mean, nor the first half of the time more than two thirds. (On two busy cores it had up to 1.5 times the mean.) A robot asks once and reports once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_reaches_a_thousand_without_a_wave() {
    allow_files(2 * ROBOTS as u64 + 200);
    let spread = Spread { start: 2 * SECOND, reconnect: 8 * SECOND, change: 4 * SECOND };
    let authority = Authority::new("Test CA");
    let mut broker = AwsBroker::start(&authority, Limits::documented()).await;
    let directory = tempfile::tempdir().unwrap();
    authority.issue(&["robot"], Valid::Now).write(directory.path(), "robot");
    std::fs::write(directory.path().join("rootCA.crt"), &authority.pem).unwrap();
    let fleet = Fleet { directory: directory.path().to_owned(), port: broker.port, spread };
    let begin = Instant::now();
    let mut starting = JoinSet::new();
    for number in 0..ROBOTS {
        let fleet = fleet.clone();
        starting.spawn_blocking(move || fleet.start(number));
    }
    let running: Vec<Running> = starting.join_all().await;
    let took = applied(&broker, None, begin).await;
    println!("All run after {took:?}.");

    let pushed = Instant::now();
    push(&broker, "1");
    let took = applied(&broker, Some("1"), pushed).await;
    println!("All have applied the first version after {took:?}.");
    check_waves(&broker.record(), pushed, (spread.change, spread.change));

    broker.restart(async |broker| push(broker, "2")).await;
    let restarted = Instant::now();
    let took = applied(&broker, Some("2"), restarted).await;
    println!("All have applied the second version {took:?} after the restart.");
    let record = broker.record();
    check_waves(&record, restarted, (spread.reconnect, spread.change));
    let connects: Vec<_> = record.connects.iter().map(|connect| connect.at).filter(|at| *at >= restarted).collect();
    println!("{} CONNECTs, {} in the busiest second.", connects.len(), busiest_second(&connects));

    assert_eq!(record.violations(), []);
    let accepted: HashSet<&str> = record.arrivals.iter().map(|arrival| arrival.topic.as_str()).collect();
    for robot in &running {
        let kept = robot.store.look().unwrap();
        assert_eq!(kept.confirmed.map(|wish| wish.version).as_deref(), Some("2"));
        assert!(kept.trial.is_none());
        for version in ["1", "2"] {
            let topic = format!("fleet/{}/{version}", robot.thing);
            assert!(accepted.contains(&*topic), "{topic}");
        }
        robot.stop();
    }
    for robot in running {
        robot.ended().await;
    }
}

//! Hundreds of robots, and a thousand, whose configuration is in the cloud, over mutual TLS at a broker with AWS's limits.

mod robot;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::aws_broker::{AwsBroker, Limits, Record};
use crate::support::certificates::{Authority, Valid};
use iot_bridge_core::remote::Spread;
use robot::{Fleet, Running, SHADOW, thing};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::task::JoinSet;

/// As many as are done within the time that the suite has for it.
const ROBOTS: usize = 300;

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
fn push(broker: &AwsBroker, robots: usize, version: &str) {
    for number in 0..robots {
        let topic = json!({"ros": "/pushed", "mqtt": format!("fleet/{{thing}}/{version}")});
        let desired = json!({"version": version, "config": {"topics": [topic]}});
        broker.update_shadow(&thing(number), SHADOW, json!({ "desired": desired }));
    }
}

/// Waits until each robot has reported that this version is in force; without one, the local configuration. Returns how long it
/// took since then.
async fn applied(broker: &AwsBroker, robots: usize, version: Option<&str>, since: Instant) -> Duration {
    let mut left: Vec<String> = (0..robots).map(thing).collect();
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

/// How often something came to topics that end like this, from `since` on.
fn count(record: &Record, ending: &str, since: Instant) -> usize {
    record.arrivals.iter().filter(|arrival| arrival.at >= since && arrival.topic.ends_with(ending)).count()
}

/// That robots plan to ask for their shadows at random times over `asked_over`, and to report at such times over
/// `reported_over` after that, and that they do neither more often than needed.
fn check_waves(
    fleet: &Fleet,
    robots: usize,
    record: &Record,
    since: Instant,
    (asked_over, reported_over): (Duration, Duration),
) {
    for (request, over) in [("get", asked_over), ("update", reported_over)] {
        let ending = format!("/shadow/name/{SHADOW}/{request}");
        let (planned, count) = (fleet.planned.times(&ending, since), count(record, &ending, since));
        let (most, mean) = (busiest_second(&planned), robots as f64 / over.as_secs_f64());
        let early = planned.iter().filter(|at| **at < since + over / 2).count();
        println!(
            "Of {count} {request}s {most} are planned within a second, of {mean:.0} on average; {early} in the first half."
        );
        assert!(planned.len() >= robots, "{} {request}s are planned", planned.len());
        assert!(most as f64 <= 2.0 * mean, "{most} {request}s within a second, of {mean:.0} on average");
        assert!(early <= robots * 2 / 3, "{early} {request}s within half of {over:?}");
        // More where something newer has overtaken an answer, or where an answer has taken too long.
        let most = if request == "get" { robots * 11 / 10 } else { robots * 101 / 100 };
        assert!((robots..=most).contains(&count), "{count} {request}s");
    }
}

/// All robots get a push in one moment, and another while the broker restarts. All apply it: it stands on their disks as
/// confirmed, after a PUBACK of a record of its topic, and is reported. Their requests are planned in no wave: of the `get`s over
/// four seconds after the push, and over eight after the restart, and of the reports over four, no second has more than twice
/// the mean, nor the first half of the time more than two thirds. A robot asks once and reports once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_reaches_all_without_a_wave() {
    a_push_reaches(ROBOTS).await;
}

/// The same with a thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes longer than the suite has time for"]
async fn a_push_reaches_a_thousand_without_a_wave() {
    a_push_reaches(1000).await;
}

async fn a_push_reaches(robots: usize) {
    allow_files(2 * robots as u64 + 200);
    let spread = Spread { start: 2 * SECOND, reconnect: 8 * SECOND, change: 4 * SECOND };
    let authority = Authority::new("Test CA");
    let mut broker = AwsBroker::start(&authority, Limits::documented()).await;
    let directory = tempfile::tempdir().unwrap();
    authority.issue(&["robot"], Valid::Now).write(directory.path(), "robot");
    std::fs::write(directory.path().join("rootCA.crt"), &authority.pem).unwrap();
    let fleet = Fleet { directory: directory.path().to_owned(), port: broker.port, spread, planned: Arc::default() };
    let begin = Instant::now();
    let mut starting = JoinSet::new();
    for number in 0..robots {
        let fleet = fleet.clone();
        starting.spawn_blocking(move || fleet.start(number));
    }
    let running: Vec<Running> = starting.join_all().await;
    let took = applied(&broker, robots, None, begin).await;
    println!("All run after {took:?}.");

    let pushed = Instant::now();
    push(&broker, robots, "1");
    let took = applied(&broker, robots, Some("1"), pushed).await;
    println!("All have applied the first version after {took:?}.");
    check_waves(&fleet, robots, &broker.record(), pushed, (spread.change, spread.change));

    broker.restart(async |broker| push(broker, robots, "2")).await;
    let restarted = Instant::now();
    let took = applied(&broker, robots, Some("2"), restarted).await;
    println!("All have applied the second version {took:?} after the restart.");
    let record = broker.record();
    check_waves(&fleet, robots, &record, restarted, (spread.reconnect, spread.change));
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

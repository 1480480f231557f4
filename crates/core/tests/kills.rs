//! The queue and the uplink in processes that are killed, on one directory, against a real broker.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::scene::Scene;
use crate::support::victim::{self, BURST, Orders, Report, TOPICS, Victim, WINDOW};
use bytes::Bytes;
use iot_bridge_core::config::QueueDurability::{self, Always, Spill};

/// Kills in a row with a broker that is up, down or flapping.
const ROUND: u64 = 10;

/// The process is killed 140 times at random moments under load, with the broker up, down and flapping: with `always`
/// no record is lost that was acknowledged or reported as durable, first receipts come in order within a topic, and no
/// more than a window arrives twice for each kill and each connection lost.
#[test]
fn always_loses_nothing_that_was_durable() {
    let twice = kill_again_and_again("kills::always_loses_nothing_that_was_durable", Always, 140, 400);
    if let Some(Twice { records, ends }) = twice {
        assert!(records <= ends * WINDOW, "{records} arrived twice, after {ends} kills and cuts");
    }
}

/// With `spill`, 60 kills cost what was in memory only: while the link is up what was not acknowledged, while it is down
/// what was not written yet, no more than a second's records.
#[test]
fn spill_loses_what_was_in_memory_only() {
    kill_again_and_again("kills::spill_loses_what_was_in_memory_only", Spill, 60, 1800);
}

/// Records that arrived more than once.
struct Twice {
    records: usize,
    /// Kills, and connections cut.
    ends: usize,
}

/// What the victims have said.
#[derive(Default)]
struct Claims {
    next: u64,
    admitted: BTreeSet<u64>,
    durable: BTreeSet<u64>,
}

impl Claims {
    fn add(&mut self, reports: &[Report]) {
        let first = self.next;
        for report in reports {
            if report.all_durable {
                self.durable.extend(first..report.next);
            }
            self.next = report.next + BURST;
        }
        self.admitted.extend(first..self.next);
    }
}

/// Kills victims of `durability` that live for up to `longest` milliseconds, and checks what arrives. Nothing in the
/// process of a victim.
fn kill_again_and_again(name: &str, durability: QueueDurability, kills: u64, longest: u64) -> Option<Twice> {
    if victim::obey() {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut scene = Scene::set().await;
        let (mut claims, mut cuts) = (Claims::default(), 0);
        let orders = Orders {
            directory: scene.directory.path().join("queue"),
            durability,
            sync: Duration::from_millis(20),
            first: 0,
            is_last: false,
            broker: Some((scene.link.port(), scene.directory.path().to_owned())),
        };
        for kill in 0..kills {
            let (is_down, flaps) = match kill / ROUND % 3 {
                0 => (false, false),
                1 => (true, false),
                _ => (false, true),
            };
            if is_down && kill % ROUND == 0 {
                scene.mosquitto.kill();
                scene.link.shut().await;
            }
            let victim = Victim::start(name, &Orders { first: claims.next, ..orders.clone() });
            let life = tokio::time::sleep(Duration::from_millis(rand::random::<u64>() % longest));
            tokio::pin!(life);
            loop {
                let flap = Duration::from_millis(rand::random::<u64>() % 100);
                tokio::select! {
                    () = &mut life => break,
                    () = tokio::time::sleep(flap), if flaps => {
                        scene.link.cut();
                        cuts += 1;
                    }
                }
            }
            claims.add(&victim.kill());
            if is_down && (kill % ROUND == ROUND - 1 || kill == kills - 1) {
                scene.mosquitto.start_again();
                scene.observer.subscribe(scene.mosquitto.port()).await;
                scene.link.reopen().await;
            }
        }
        claims.admitted.extend(claims.next..claims.next + TOPICS);
        Victim::start(name, &Orders { first: claims.next, is_last: true, ..orders }).join();
        let twice = check(&mut scene, &claims).await;
        eprintln!("{} claimed, {twice} arrived twice, after {kills} kills and {cuts} cuts", claims.durable.len());
        assert!(claims.durable.len() > 1000, "{} records prove little", claims.durable.len());
        Some(Twice { records: twice, ends: kills as usize + cuts })
    })
}

/// Checks what has arrived: all that was claimed, in order, and nothing else. Returns how many arrived twice.
async fn check(scene: &mut Scene, claims: &Claims) -> usize {
    let (mut seen, mut latest, mut twice) = (BTreeSet::new(), [None; TOPICS as usize], 0);
    let mut see = |(topic, payload): (String, Bytes)| {
        let number = victim::number_in(&payload);
        assert_eq!(topic, format!("robots/robot1/topic{}", number % TOPICS));
        assert!(claims.admitted.contains(&number), "{number} was never admitted");
        if !seen.insert(number) {
            twice += 1;
        } else {
            let latest = &mut latest[(number % TOPICS) as usize];
            assert!(*latest < Some(number), "{number} came for the first time after {latest:?}");
            *latest = Some(number);
        }
    };
    // The last victim's records come behind all others of their topics.
    let mut last: BTreeSet<u64> = (claims.next..claims.next + TOPICS).collect();
    while !last.is_empty() {
        let message = scene.observer.next().await;
        last.remove(&victim::number_in(&message.1));
        see(message);
    }
    let lost: Vec<_> = claims.durable.difference(&seen).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), claims.durable.len());
    twice
}

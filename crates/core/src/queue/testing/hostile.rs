//! Any bytes at all become what stands in the queue's directory, and recovery runs.
//!
//! `fuzz/fuzz_targets/recover.rs` feeds [`recover`], led by coverage; the tests feed it at random.

mod edits;
mod plain;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::harness::{QueueHarness, WINDOW, settings};
use crate::config::{self, Priority, QueueDurability};
use crate::files::simulated::SimulatedFiles;
use crate::queue::disk::LANES;
use crate::queue::disk::clock::Clock;
use crate::queue::disk::ledger::{self, Entry, Ledger};
use crate::queue::disk::quarantine::QUARANTINE;
use crate::queue::disk::route_table::ROUTES;
use crate::queue::disk::segment::on_disk;
use crate::queue::{Queue, Route};
use edits::{Edited, Recipe};
use plain::{Found, PlainLane};

/// All files by their paths.
type Content = BTreeMap<String, Vec<u8>>;

/// What is told apart of a record that came out of the queue: lane, ROS topic, MQTT topic, received, payload.
type Delivered = (Priority, String, String, i64, Vec<u8>);

/// A topic that no run has written to.
const AFTER: (&str, u64) = ("/after", 1 << 60);

/// Makes a directory of `data`: what a run of the queue has left, with edits. Starts on it, and checks that
///
/// - nothing panics, and nothing but a device that can't be read keeps the queue from working,
/// - no more is read into memory at a time than a file has,
/// - each record that comes out is whole in the bytes that were there, and all that are whole and not done come out,
/// - nothing is deleted or cut off that could not be read, but for the torn tail of a segment,
/// - a second start, after the process was killed or the power cut, finds the same as the first,
/// - the queue goes on, and what was acknowledged does not come again.
pub fn recover(data: &[u8]) {
    let mut recipe = Recipe::new(data);
    let choice = recipe.byte();
    let left = &left_behind()[usize::from(choice) % left_behind().len()];
    let durability = if choice & 0x40 == 0 { QueueDurability::Spill } else { QueueDurability::Always };
    let disk = if choice & 0x80 == 0 { 64 << 20 } else { 1 << 20 };
    let settings = config::Queue { disk, ..settings(durability) };
    let files = left.after_kill();
    let edited = edits::apply(&files, &mut recipe);
    let before = content(&files);
    let now = Instant::now();
    let start = |files: &SimulatedFiles, boot: u8| {
        let times = (now, boot, Clock::of_boot(boot, now));
        let harness = QueueHarness::start(files.clone(), Arc::new(files.clone()), settings.clone(), WINDOW, times);
        let trouble = harness.queue.figures().disk.and_then(|disk| disk.trouble);
        assert!(trouble.is_none() || edited.is_unreadable, "{trouble:?}");
        harness
    };

    let mut first = start(&files, 1);
    check_reads(&files, &before);
    check_kept(&before, &content(&files), disk);
    let (killed, cut) = (files.after_kill(), files.after_power_cut(u64::from(choice)));
    let arrived = drain(&mut first);
    check_arrived(&before, &edited, &arrived);
    let mut second = start(&killed, 1);
    check_kept(&before, &content(&killed), disk);
    assert_eq!(arrived, drain(&mut second), "a second start finds something else");
    let mut third = start(&cut, 2);
    check_kept(&before, &content(&cut), disk);
    let after_cut = drain(&mut third);
    if !edited.is_forged {
        // Else there may be records that expire.
        assert_eq!(arrived, after_cut, "a start after a power cut finds something else");
    }
    for harness in [first, second, third] {
        check_goes_on(harness, &edited);
    }
}

/// Directories as scripted runs have left them.
fn left_behind() -> &'static [SimulatedFiles] {
    static LEFT: OnceLock<Vec<SimulatedFiles>> = OnceLock::new();
    LEFT.get_or_init(|| {
        let mut all = vec![SimulatedFiles::new()];
        for durability in [QueueDurability::Spill, QueueDurability::Always] {
            let harness = scripted(durability);
            all.push(harness.files.after_kill());
            all.push(harness.files.after_power_cut(5));
            all.push(with_something_set_aside(harness));
        }
        all
    })
}

const TOPICS: [(&str, Priority); 4] =
    [("/high", Priority::High), ("/one", Priority::Normal), ("/two", Priority::Normal), ("/low", Priority::Low)];

/// Three lives of a queue, each with a segment in each lane; something is acknowledged, out of its order too, and one
/// topic's configuration changes.
fn scripted(durability: QueueDurability) -> QueueHarness {
    let files = SimulatedFiles::new();
    // The same queue in each process.
    drop(Ledger::open(&files, Entry { queue_id: 77, ..Entry::default() }));
    let mut harness = QueueHarness::on(files, settings(durability));
    for life in 0..3 {
        for (index, (ros, priority)) in TOPICS.into_iter().enumerate() {
            let route = harness.route(ros, priority);
            let changed =
                Route { retain: life > 0 && index == 1, ..Arc::into_inner(route).expect("a route of its own") };
            let route = Arc::new(changed);
            for number in 0..4 {
                let number = (index as u64) << 32 | (life * 4 + number);
                assert!(harness.admit(&route, number, 8 + 10 * number as usize % 50));
            }
        }
        harness.work();
        harness.queue.set_link(true);
        let leases: Vec<_> = (0..4).map_while(|_| harness.queue.lease(harness.now)).collect();
        for lease in leases.iter().filter(|lease| life == 0 || lease.record.route.ros != "/one") {
            assert!(harness.queue.acknowledge(lease.id));
        }
        harness.work();
        harness.queue.requeue();
        harness.queue.set_link(false);
        harness.work();
        harness = if life < 2 { harness.kill() } else { harness };
    }
    harness
}

/// The same, after damage that was found and set aside.
fn with_something_set_aside(harness: QueueHarness) -> SimulatedFiles {
    let files = harness.files.after_kill();
    let segment = files.paths().into_iter().find(|path| path.starts_with("low/")).expect("a segment");
    files.corrupt(&segment, 200, b"####");
    let mut harness = QueueHarness::on(files, harness.settings);
    harness.send(32);
    harness.work();
    assert!(harness.files.paths().iter().any(|path| path.starts_with(QUARANTINE)), "nothing is set aside");
    harness.files.after_kill()
}

fn content(files: &SimulatedFiles) -> Content {
    files.paths().into_iter().filter_map(|path| Some((path.clone(), files.read(&path)?))).collect()
}

/// Nothing was read into a buffer that is longer than what there is.
fn check_reads(files: &SimulatedFiles, before: &Content) {
    let longest = before.values().map(Vec::len).max().unwrap_or(0);
    // Pieces in which the ledger, and a file that may be zeros, are read whatever their lengths.
    let longest = longest.max(64 << 10);
    assert!(files.longest_read() <= longest, "{} bytes were read of {longest}", files.longest_read());
}

/// Whatever is not there any more could be read, or is a torn tail.
fn check_kept(before: &Content, after: &Content, disk: u64) {
    let done = match plain::ledger(before) {
        ledger::Found::Whole(entry) => entry.lanes.map(|lane| lane.done),
        _ => [0; 3],
    };
    for (path, content) in before {
        let is_aside = || after.iter().any(|(other, kept)| other.starts_with(QUARANTINE) && kept == content);
        if after.get(path) == Some(content) || is_aside() || content.is_empty() {
            continue;
        }
        if path == ledger::LEDGER {
            // Written in place, unless it says nothing.
            assert!(matches!(plain::ledger(before), ledger::Found::Whole(_)), "a ledger that can't be read is gone");
            continue;
        }
        if path.starts_with(QUARANTINE) {
            let aside = |content: &Content| -> u64 {
                let aside = content.iter().filter(|(path, _)| path.starts_with(QUARANTINE));
                aside.map(|(_, content)| on_disk(content.len() as u64)).sum()
            };
            let largest = before.values().map(|content| on_disk(content.len() as u64)).max().unwrap_or(0);
            assert!(aside(after) + largest > disk / 16, "{path} was deleted without need");
            continue;
        }
        let lane = PlainLane::all(before).into_iter().find_map(|lane| {
            let segment = lane.segments.iter().position(|segment| segment.path == *path)?;
            Some((lane.lane, lane.segments.into_iter().nth(segment)?))
        });
        let Some((lane, segment)) = lane else { panic!("{path} is gone, and is not the queue's") };
        let name = format!("-{}", path.replace('/', "-"));
        let is_new = |other: &str| other.starts_with(QUARANTINE) && !before.contains_key(other);
        let aside = after.iter().find(|(other, _)| is_new(other) && other.ends_with(&name));
        let Some(left) = after.get(path).or(aside.map(|(_, kept)| kept)) else {
            let all_done = segment.before.is_some_and(|before| before <= done[lane as usize])
                || segment.records.iter().all(|record| record.number < done[lane as usize]);
            let is_whole = segment.has_header || segment.records.is_empty() && segment.is_begun(content);
            assert!(all_done && is_whole, "{path} is gone, with records that are not done: {segment:?}, {done:?}");
            continue;
        };
        assert!(content.starts_with(left), "{path} was written to");
        assert!(left.len() as u64 >= segment.end, "{path} was cut off before its last record");
    }
}

/// Leases and acknowledges all there is. Time stands still, so that whoever does the same finds the same.
fn drain(harness: &mut QueueHarness) -> Vec<Delivered> {
    let mut arrived = Vec::new();
    loop {
        let before = arrived.len();
        while let Some(lease) = harness.queue.lease(harness.now) {
            let (route, record) = (&lease.record.route, &lease.record);
            let names = (route.ros.clone(), route.mqtt.clone());
            arrived.push((route.priority, names.0, names.1, record.received_ns, record.payload.to_vec()));
            assert!(harness.queue.acknowledge(lease.id));
        }
        check_store(&harness.queue);
        harness.worker.turn(harness.now);
        check_store(&harness.queue);
        if arrived.len() == before && !harness.queue.shared.lock().store.has_next(harness.now, &|_| true) {
            break;
        }
    }
    harness.check_accounts();
    arrived
}

fn check_store(queue: &Queue) {
    queue.shared.lock().store.check();
}

/// Each record that came was there, and each that was there and has not been damaged came, in its order.
fn check_arrived(before: &Content, edited: &Edited, arrived: &[Delivered]) {
    let found = Found::anywhere(before);
    for (_, ros, mqtt, received, payload) in arrived {
        assert!(found.records.contains(&(*received, payload.clone())), "{ros} {payload:?} is invented");
        assert!(found.routes.contains(&(ros.clone(), mqtt.clone())), "{ros} {mqtt} is invented");
    }
    if edited.is_forged || edited.is_unreadable {
        return;
    }
    for lane in PlainLane::all(before) {
        let arrived: Vec<_> = arrived.iter().filter(|delivered| delivered.0 == lane.lane).collect();
        for record in lane.undone(before) {
            let came = arrived.iter().any(|(_, ros, _, received, payload)| {
                (ros, received, payload) == (&record.ros, &record.received, &record.payload)
            });
            assert!(came, "{} {:?} is whole and did not come", record.ros, record.payload);
        }
        for (ros, _) in TOPICS {
            let own = arrived.iter().filter(|delivered| delivered.1 == ros).map(|delivered| delivered.3);
            assert!(own.clone().is_sorted_by(|one, other| one < other), "{ros}: {:?}", own.collect::<Vec<_>>());
        }
    }
}

/// The queue writes to the disk and reads from there; after another start, what was acknowledged is gone.
fn check_goes_on(mut harness: QueueHarness, edited: &Edited) {
    if edited.is_unreadable {
        return;
    }
    harness.work();
    harness.queue.set_link(false);
    let route = harness.route(AFTER.0, Priority::Low);
    assert!(harness.admit(&route, AFTER.1, 20));
    harness.work();
    let figures = harness.queue.figures();
    let disk = figures.disk.as_ref().and_then(|disk| disk.trouble.clone());
    assert_eq!((figures.memory_only(), disk), (0, None), "it does not go on: {figures:?}");
    let mut harness = harness.kill();
    let arrived = drain(&mut harness);
    assert_eq!(arrived.len(), 1, "{arrived:?}");
    assert_eq!(arrived[0].4[..8], AFTER.1.to_le_bytes());
    harness.work();
    assert_eq!(drain(&mut harness.kill()), []);
}

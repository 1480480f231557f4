//! Damage at every place of the queue's files.

use std::collections::BTreeSet;
use std::ops::Range;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::disk::LANES;
use super::super::disk::clock::{Counted, Written};
use super::super::disk::finding::{Fault, Finding};
use super::super::disk::format::{HEADER_BYTES, Header, StoredRecord, put_record};
use super::super::disk::ledger::{Entry, LEDGER, Ledger};
use super::super::disk::route_table::ROUTES;
use super::super::disk::scan::{Item, Scan};
use super::super::disk::segment::path;
use super::super::disk::survey::{go_on, survey};
use super::*;
use crate::config::QueueDurability::Spill;
use crate::files::Files;
use crate::files::simulated::SimulatedFiles;
use crate::queue::disk::format::{Mark, Stream};
use crate::queue::testing::harness::{QueueHarness, settings};

#[derive(Debug, Clone, Copy)]
enum Damage {
    /// A byte that is another.
    Flip(u64),
    Truncate(u64),
    /// Nothing but zeros from here to there.
    Zero(u64, u64),
}

impl Damage {
    fn apply(self, files: &SimulatedFiles, path: &str) {
        match self {
            Damage::Flip(place) => {
                let byte = files.read(path).unwrap()[place as usize];
                files.corrupt(path, place, &[!byte]);
            }
            Damage::Truncate(length) => files.truncate(path, length),
            Damage::Zero(from, to) => files.corrupt(path, from, &vec![0; (to - from) as usize]),
        }
    }

    /// Where it makes a difference to a file that holds `bytes`.
    fn place(self, bytes: &[u8]) -> Range<u64> {
        match self {
            Damage::Flip(place) => place..place + 1,
            Damage::Truncate(from) => from..bytes.len() as u64,
            // It may have been zeros before.
            Damage::Zero(from, to) => (from..to).find(|place| bytes[*place as usize] != 0).unwrap_or(to)..to,
        }
    }

    /// At every place of a file of so many bytes.
    fn everywhere(length: u64) -> impl Iterator<Item = Damage> {
        let at = move |place| [Damage::Flip(place), Damage::Truncate(place), Damage::Zero(place, length)];
        (0..length).flat_map(at)
    }
}

/// The number of a record, and the place of its frame in its segment.
type Framed = (u64, Range<u64>);

/// A queue on a disk: two segments of the same lane with records of two topics, of which the first is acknowledged.
struct Left {
    files: SimulatedFiles,
    settings: config::Queue,
    /// The numbers that wait, by segment, with the places of their frames.
    segments: Vec<(String, Vec<Framed>)>,
}

impl Left {
    fn new(records: u64, bytes: usize) -> Left {
        let settings = settings(Spill);
        let mut harness = QueueHarness::new(settings);
        for half in 0..2 {
            for number in half * records..(half + 1) * records {
                let route = harness.route(if number % 2 == 0 { "/even" } else { "/odd" }, Priority::Normal);
                assert!(harness.admit(&route, number, bytes));
            }
            harness.work();
            if half == 0 {
                assert_eq!(harness.send(1), [0]);
                harness.work();
            }
            harness = harness.kill();
        }
        let segments = harness.files.paths().into_iter().filter(|path| path.starts_with("normal/"));
        let segments: Vec<_> = segments.map(|path| (path.clone(), records_of(&harness.files, &path))).collect();
        assert_eq!(segments.len(), 2);
        let numbers = segments.iter().flat_map(|(_, records)| records.iter().map(|(number, _)| *number));
        assert!(numbers.eq(0..2 * records));
        Left { files: harness.files, settings: harness.settings, segments }
    }

    /// Damages a file and starts. Returns what was found, what arrived, and the queue.
    fn damage(&self, path: &str, damage: Damage) -> (Vec<Finding>, Vec<u64>, QueueHarness) {
        let files = self.files.after_kill();
        damage.apply(&files, path);
        let findings = survey(&files, &mut go_on).unwrap().findings;
        let mut harness = QueueHarness::on(files, self.settings.clone());
        let told = || format!("{damage:?} of {path}");
        assert_eq!(harness.queue.figures().disk.unwrap().trouble, None, "{}", told());
        let arrived = harness.drain();
        for parity in 0..2 {
            let own: Vec<_> = arrived.iter().filter(|number| *number % 2 == parity).collect();
            assert!(own.is_sorted_by(|one, other| one < other), "{}: {own:?}", told());
        }
        let all = 2 * self.segments[0].1.len() as u64;
        assert!(arrived.iter().all(|number| *number < all), "{}: {arrived:?}", told());
        harness.check_accounts();
        harness.work();
        // It goes on.
        let route = harness.route("/after", Priority::Low);
        assert!(harness.admit(&route, 1 << 32, 20));
        harness.queue.set_link(false);
        harness.work();
        let figures = harness.queue.figures();
        assert_eq!((figures.memory_only(), figures.disk.unwrap().trouble), (0, None), "{}", told());
        (findings, arrived, harness)
    }

    /// Damages a segment, and checks that all arrives that the damage has not touched, and that it is told.
    fn check(&self, segment: usize, damage: Damage) {
        let (path, records) = &self.segments[segment];
        let told = format!("{damage:?} of {path}");
        let (findings, arrived, harness) = self.damage(path, damage);
        let place = damage.place(&self.files.read(path).unwrap());
        // With the header go the clocks, not the records.
        let is_hit = |frame: &Range<u64>| frame.start < place.end && place.start < frame.end;
        let arrived: BTreeSet<u64> = arrived.into_iter().collect();
        let others = self.segments.iter().enumerate().filter(|(index, _)| *index != segment);
        let others = others.flat_map(|(_, (_, records))| records.iter().map(|(number, _)| *number));
        let missed = |number: &u64| *number != 0 && !arrived.contains(number);
        assert_eq!(others.filter(missed).collect::<Vec<_>>(), [0u64; 0], "{told}: of the other segment");
        let wanted = records.iter().filter(|(_, frame)| !is_hit(frame)).map(|(number, _)| *number);
        assert_eq!(wanted.filter(missed).collect::<Vec<_>>(), [0u64; 0], "{told}");
        let lost = records.iter().filter(|(number, _)| missed(number)).count();
        // Who takes away whole records at the end of the last segment leaves nothing that tells.
        let is_last = segment + 1 == self.segments.len();
        let cut = !records.iter().any(|(_, frame)| frame.start < place.start && place.start < frame.end);
        if lost > 0 && !(is_last && cut && matches!(damage, Damage::Truncate(_))) {
            let is_told = findings.iter().any(|finding| match finding.place() {
                Some(found) => finding.file == *path && found.start <= place.start && place.start <= found.end,
                // The numbers tell, or the header.
                None => finding.is_loss(),
            });
            assert!(is_told, "{told}: {findings:?}");
        }
        if lost > 0 && matches!(damage, Damage::Flip(_)) && !is_last {
            assert!(
                harness.files.paths().iter().any(|path| path.starts_with("quarantine/")),
                "{told}: nothing set aside"
            );
        }
    }
}

/// The numbers in a segment, and where their frames are.
fn records_of(files: &SimulatedFiles, path: &str) -> Vec<Framed> {
    let surveyed = survey(files, &mut go_on).unwrap();
    let lane = LANES.into_iter().position(|lane| lane == Priority::Normal).unwrap();
    let segment = surveyed.lanes[lane].segments.iter().find(|segment| segment.path() == path).unwrap();
    let mark = Mark::new(segment.queue_id, Stream::Lane(Priority::Normal), segment.numbers.start);
    let mut scan = Scan::new(files.open(path).unwrap(), mark, HEADER_BYTES as u64, segment.length);
    std::iter::from_fn(|| scan.advance().unwrap())
        .filter_map(|item| match item {
            Item::Record { record, place } => {
                Some((u64::from_le_bytes(record.payload[..8].try_into().unwrap()), place))
            }
            Item::Route { .. } => None,
            Item::Damage { .. } => panic!("{item:?}"),
        })
        .collect()
}

/// A segment that is corrupted, truncated or filled with zeros from any of its bytes on: the rest arrives in its order,
/// the damage is told with its place, what could not be read is set aside, and the queue starts and goes on.
#[test]
fn a_small_segment_damaged_at_any_place() {
    let left = Left::new(5, 12);
    for segment in 0..2 {
        let length = left.files.read(&left.segments[segment].0).unwrap().len() as u64;
        Damage::everywhere(length).for_each(|damage| left.check(segment, damage));
    }
}

/// The same at random places of large segments, also where a device loses whole blocks.
#[test]
fn a_large_segment_damaged_at_random_places() {
    let left = Left::new(1500, 200);
    let mut rng = StdRng::seed_from_u64(4);
    for _ in 0..60 {
        let segment = rng.gen_range(0..2);
        let length = left.files.read(&left.segments[segment].0).unwrap().len() as u64;
        let place = rng.gen_range(0..length);
        let block = place / 4096 * 4096;
        let damage = match rng.gen_range(0..4) {
            0 => Damage::Flip(place),
            1 => Damage::Truncate(place),
            2 => Damage::Zero(place, length),
            _ => Damage::Zero(block, (block + 4096).min(length)),
        };
        left.check(segment, damage);
    }
}

/// Whatever happens to the ledger, all that was not acknowledged arrives; and if it says nothing any more, that is told
/// and it is set aside.
#[test]
fn a_ledger_damaged_at_any_place() {
    let left = Left::new(5, 12);
    let length = left.files.read(LEDGER).unwrap().len() as u64;
    let used = (0..length).filter(|place| place % 8192 < 140);
    for place in used {
        for damage in [Damage::Flip(place), Damage::Truncate(place), Damage::Zero(place, length)] {
            let (_, arrived, _) = left.damage(LEDGER, damage);
            assert!((1..10).all(|number| arrived.contains(&number)), "{damage:?}: {arrived:?}");
        }
    }
    let (findings, arrived, harness) = left.damage(LEDGER, Damage::Zero(0, length));
    assert!(findings.iter().any(|finding| finding.file == LEDGER), "{findings:?}");
    assert_eq!(arrived.len(), 10);
    assert!(harness.files.paths().iter().any(|path| path.starts_with("quarantine/") && path.ends_with(LEDGER)));
}

/// Whatever happens to the table of routes costs nothing: each segment knows its own.
#[test]
fn a_table_of_routes_damaged_at_any_place() {
    let left = Left::new(5, 12);
    let length = left.files.read(ROUTES).unwrap().len() as u64;
    for damage in Damage::everywhere(length) {
        let (_, arrived, _) = left.damage(ROUTES, damage);
        assert!((1..10).all(|number| arrived.contains(&number)), "{damage:?}: {arrived:?}");
    }
}

/// A disk with this and that in place of files, or beside them: what a start finds, and what the next one does.
fn twice(left: &Left, spoil: impl Fn(&SimulatedFiles)) -> (Vec<Finding>, QueueHarness, QueueHarness) {
    let files = left.files.after_kill();
    spoil(&files);
    let findings = survey(&files, &mut go_on).unwrap().findings;
    let first = QueueHarness::on(files, left.settings.clone());
    let second = QueueHarness::on(first.files.after_power_cut(3), left.settings.clone());
    (findings, first, second)
}

fn put(files: &SimulatedFiles, path: &str, bytes: &[u8]) {
    drop(files.create(path).unwrap());
    files.sync_directory(path.rsplit_once('/').map_or("", |(above, _)| above)).unwrap();
    files.corrupt(path, 0, bytes);
}

/// A file with the name of a segment and no record in it hides none of the segment before it: neither an empty one, nor
/// a begun one, nor something else. A second start finds the same records as the first.
#[test]
fn a_file_without_records_hides_none() {
    let left = Left::new(5, 12);
    let header = &left.files.read(&left.segments[0].0).unwrap()[..HEADER_BYTES];
    for bytes in [&b""[..], &[0; 300], header, &[7; 10], &[7; 300]] {
        let (_, mut first, mut second) = twice(&left, |files| put(files, &path(Priority::Normal, 7), bytes));
        for harness in [&mut first, &mut second] {
            let mut arrived = harness.drain();
            arrived.sort_unstable();
            assert!(arrived.into_iter().filter(|number| *number > 0).eq(1..10), "{bytes:?}");
        }
    }
}

/// Nor does it name the queue, when the ledger is lost: the table of routes is that of the records.
#[test]
fn a_file_without_records_does_not_name_the_queue() {
    let left = Left::new(5, 12);
    let queue_id = survey(&left.files, &mut go_on).unwrap().entry.queue_id;
    let files = left.files.after_kill();
    let header = Header {
        stream: Stream::Lane(Priority::High),
        first: 0,
        queue_id: !queue_id,
        written: Written { boot_id: [1; 16], counted: Counted::Boottime, offset: 0 },
    };
    put(&files, &path(Priority::High, 0), &header.encode());
    files.remove(LEDGER).unwrap();
    assert_eq!(survey(&files, &mut go_on).unwrap().entry.queue_id, queue_id);
}

/// Nor do several such files make one look done that is not.
#[test]
fn files_without_records_make_none_look_done() {
    let left = Left::new(5, 12);
    let mut harness = QueueHarness::on(left.files.after_kill(), left.settings.clone());
    // The ledger is in the middle of the second segment.
    assert_eq!(harness.send(6).len(), 6);
    harness.work();
    let sent = Left { files: harness.files.after_kill(), settings: left.settings.clone(), segments: left.segments };
    let junk = |files: &SimulatedFiles| {
        (6..9).for_each(|first| put(files, &path(Priority::Normal, first), b"junk"));
    };
    let (_, mut first, _) = twice(&sent, junk);
    assert_eq!(first.drain().len(), 3);
}

/// What a block that can't be read may hold is neither deleted nor cut off, though nothing whole is behind it: the file
/// is told, and set aside once the rest of it is done. What comes after it takes no number that may be in there.
#[test]
fn what_the_device_does_not_give_is_kept() {
    let left = Left::new(5, 12);
    let (name, records) = &left.segments[1];
    let content = left.files.read(name).unwrap();
    for start in [0, HEADER_BYTES as u64, records[2].1.start] {
        let spoil = |files: &SimulatedFiles| files.fail_reads(name, start..u64::MAX);
        let (findings, mut first, _) = twice(&left, spoil);
        assert!(findings.iter().any(|finding| finding.file == *name && finding.is_loss()), "{start}: {findings:?}");
        let route = first.route("/after", Priority::Normal);
        assert!(first.admit(&route, 11, 20));
        first.work();
        let kept = |harness: &QueueHarness| {
            harness.files.paths().iter().any(|path| harness.files.read(path) == Some(content.clone()))
        };
        assert!(kept(&first), "{start}: {:?}", first.files.paths());
        let findings = survey(&first.files.after_kill(), &mut go_on).unwrap().findings;
        assert!(!findings.iter().any(|finding| finding.is_loss() && finding.file != *name), "{start}: {findings:?}");
        let mut next = first.kill();
        assert!(next.drain().contains(&11), "{start}");
        next.work();
        assert!(kept(&next), "{start}: {:?}", next.files.paths());
    }
}

/// What is set aside is there after the power has gone.
#[test]
fn what_is_set_aside_lasts() {
    let left = Left::new(5, 12);
    let junk = path(Priority::High, 3);
    for seed in 0..20 {
        let (_, first, _) = twice(&left, |files| put(files, &junk, &[7; 300]));
        let files = first.files.after_power_cut(seed);
        assert!(files.paths().iter().any(|path| files.read(path) == Some(vec![7; 300])), "{seed}: {:?}", files.paths());
    }
}

/// The highest number that a segment can hold comes once, however often it stands there.
#[test]
fn the_highest_number_of_a_segment_comes_once() {
    let left = Left::new(5, 12);
    let stream = Stream::Lane(Priority::Normal);
    let mark = Mark::new(1, stream, 10);
    let header = Header {
        stream,
        first: 10,
        queue_id: 1,
        written: Written { boot_id: [1; 16], counted: Counted::Boottime, offset: 0 },
    };
    let mut bytes = header.encode().to_vec();
    let payload: bytes::Bytes = 77u64.to_le_bytes().to_vec().into();
    for _ in 0..3 {
        let (expires_ns, payload) = (i64::MAX, payload.clone());
        put_record(&mut bytes, mark, &StoredRecord { route: 0, number: u32::MAX, received_ns: 0, expires_ns, payload });
    }
    let (_, mut first, mut second) = twice(&left, |files| put(files, &path(Priority::Normal, 10), &bytes));
    for harness in [&mut first, &mut second] {
        assert_eq!(harness.drain().into_iter().filter(|number| *number == 77).count(), 1);
    }
}

/// A number that the queue can't have come to is none of its own: the file is left alone, and the ledger is damaged.
#[test]
fn numbers_that_can_not_be_are_none() {
    let left = Left::new(5, 12);
    let far = path(Priority::Normal, u64::MAX - 1);
    let mark = Mark::new(1, Stream::Lane(Priority::Normal), u64::MAX - 1);
    let stream = Stream::Lane(Priority::Normal);
    let header = Header {
        stream,
        first: u64::MAX - 1,
        queue_id: 1,
        written: Written { boot_id: [1; 16], counted: Counted::Boottime, offset: 0 },
    };
    let mut bytes = header.encode().to_vec();
    for number in [1, u32::MAX] {
        let payload = vec![0; 8].into();
        put_record(&mut bytes, mark, &StoredRecord { route: 0, number, received_ns: 0, expires_ns: 0, payload });
    }
    let (findings, mut first, _) = twice(&left, |files| put(files, &far, &bytes));
    assert!(findings.iter().any(|finding| finding.file == far && finding.fault == Fault::Foreign), "{findings:?}");
    assert_eq!(first.drain().len(), 9);
    assert_eq!(first.files.read(&far), Some(bytes));
    let (findings, mut first, _) = twice(&left, |files| {
        let entry = Entry { queue_id: 1, sequence_ceiling: u64::MAX - 1, ..Entry::default() };
        // Both slots.
        Ledger::open(files, entry.clone()).unwrap().write(entry).unwrap();
    });
    assert!(findings.iter().any(|finding| finding.file == LEDGER), "{findings:?}");
    assert!(first.queue.sequence_start() < 1 << 62);
    assert_eq!(first.drain().len(), 10);
}

/// A file of the queue that may not be opened, by its mode or its owner, is said with its name, and the queue goes on
/// in memory. Once it may be opened, all that is on the disk arrives: nothing has made it look done meanwhile.
#[test]
fn what_may_not_be_opened_waits_for_it() {
    let left = Left::new(5, 12);
    for path in [&left.segments[0].0, &left.segments[1].0, LEDGER, ROUTES] {
        let files = left.files.after_kill();
        files.forbid(path);
        let mut harness = QueueHarness::on(files, left.settings.clone());
        for number in 100..103 {
            let trouble = harness.queue.figures().disk.unwrap().trouble;
            assert!(trouble.as_ref().is_some_and(|trouble| trouble.contains(path)), "{path}: {trouble:?}");
            assert!(harness.admit(&harness.route("/even", Priority::Normal), number, 12));
            assert_eq!(harness.drain(), [number], "{path}");
            harness.work();
        }
        harness.files.heal();
        harness.work();
        assert_eq!(harness.queue.figures().disk.unwrap().trouble, None, "{path}");
        let mut arrived = harness.drain();
        arrived.sort_unstable();
        assert!(arrived.iter().copied().filter(|number| *number > 0).eq(1..10), "{path}: {arrived:?}");
        harness.check_accounts();
    }
}

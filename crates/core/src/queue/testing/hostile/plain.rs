//! What is in a queue's directory, found in the plainest way: byte by byte, without looking ahead. The walk through the
//! frames repeats the product's on purpose: what shares its code can't judge it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Content, LANES, ROUTES};
use crate::config::Priority;
use crate::files::Files;
use crate::files::simulated::SimulatedFiles;
use crate::queue::disk::format::{Header, HeaderFault, Mark, Stream};
use crate::queue::disk::ledger::{self, LEDGER};
use crate::queue::disk::segment::{directory, first_number};

const HEADER: usize = 64;
const FRAME: usize = 12;
const LONGEST: usize = 1 << 20;

/// What a whole frame holds.
enum Frame {
    Record { route: u32, number: u32, received: i64, payload: Vec<u8> },
    Route { id: u32, ros: String, mqtt: String },
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The frame that `bytes` begin with, with its length, if one is whole there. Any mark will do if none is named.
fn frame(bytes: &[u8], mark: Option<Mark>) -> Option<(Frame, usize)> {
    if mark.is_some_and(|mark| !bytes.starts_with(mark.bytes())) {
        return None;
    }
    let length = u32_at(bytes, 4)? as usize;
    if length > LONGEST {
        return None;
    }
    let body = bytes.get(FRAME..FRAME + length)?;
    if u32_at(bytes, 8)? != crc32c::crc32c(&[&bytes[..8], body].concat()) {
        return None;
    }
    let frame = match body.first()? {
        2 => Frame::Record {
            route: u32_at(body, 1)?,
            number: u32_at(body, 5)?,
            received: u64_at(body, 9)? as i64,
            payload: body.get(25..)?.to_vec(),
        },
        1 if *body.get(6)? <= 2 => {
            let names = body.get(17..)?;
            let ros = usize::from(u16::from_le_bytes([body[15], body[16]]));
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
            Frame::Route { id: u32_at(body, 1)?, ros: text(names.get(..ros)?)?, mqtt: text(&names[ros..])? }
        }
        _ => return None,
    };
    Some((frame, FRAME + length))
}

/// Whole frames at any place of any file.
#[derive(Default)]
pub struct Found {
    pub records: BTreeSet<(i64, Vec<u8>)>,
    /// ROS and MQTT topic.
    pub routes: BTreeSet<(String, String)>,
}

impl Found {
    pub fn anywhere(content: &Content) -> Found {
        let mut found = Found::default();
        for bytes in content.values() {
            for at in 0..bytes.len() {
                match frame(&bytes[at..], None) {
                    Some((Frame::Record { received, payload, .. }, _)) => _ = found.records.insert((received, payload)),
                    Some((Frame::Route { ros, mqtt, .. }, _)) => _ = found.routes.insert((ros, mqtt)),
                    None => {}
                }
            }
        }
        found
    }
}

/// A record that a segment holds.
#[derive(Debug, Clone)]
pub struct PlainRecord {
    pub number: u64,
    route: u32,
    pub ros: String,
    pub received: i64,
    pub payload: Vec<u8>,
}

/// A file with the name of a segment.
#[derive(Debug)]
pub struct PlainSegment {
    pub path: String,
    /// The first number of the next one that has a record.
    pub before: Option<u64>,
    pub has_header: bool,
    pub records: Vec<PlainRecord>,
    /// Where the last whole frame ends that counts.
    pub end: u64,
    /// There is no whole record, not even of a number that is the next segment's.
    is_void: bool,
}

impl PlainSegment {
    /// Whether a file without a header may be one that was just begun when the power went.
    pub fn is_begun(&self, content: &[u8]) -> bool {
        content.len() < HEADER || content.iter().all(|byte| *byte == 0)
    }
}

pub struct PlainLane {
    pub lane: Priority,
    pub segments: Vec<PlainSegment>,
}

impl PlainLane {
    pub fn all(content: &Content) -> Vec<PlainLane> {
        LANES.into_iter().map(|lane| PlainLane::of(content, lane)).collect()
    }

    fn of(content: &Content, lane: Priority) -> PlainLane {
        let mut files: Vec<(u64, &String, &Vec<u8>)> = content
            .iter()
            .filter_map(|(path, bytes)| {
                let name = path.strip_prefix(directory(lane))?.strip_prefix('/')?;
                Some((first_number(name)?, path, bytes))
            })
            .collect();
        files.sort_unstable();
        let queue_id = queue_id(content);
        let mut segments = Vec::new();
        let mut before = None;
        for (first, path, bytes) in files.into_iter().rev() {
            let header = header(bytes, lane, first);
            let queue_id = header.map_or(queue_id, |header| header.queue_id);
            let path = path.clone();
            let mut segment =
                PlainSegment { path, before, has_header: header.is_ok(), records: Vec::new(), end: 0, is_void: true };
            if !matches!(header, Err(HeaderFault::UnknownVersion(_))) {
                segment.read(bytes, Mark::new(queue_id, Stream::Lane(lane), first), first);
            }
            // What has no record does not bound the one before.
            before = if segment.is_void { before } else { Some(first) };
            segments.insert(0, segment);
        }
        PlainLane { lane, segments }
    }

    /// The records that are not done and whose topic is known, in their order.
    pub fn undone(&self, content: &Content) -> Vec<PlainRecord> {
        let entry = match ledger(content) {
            ledger::Found::Whole(entry) => entry.lanes[self.lane as usize].clone(),
            _ => ledger::LaneEntry::default(),
        };
        let routes = routes(content);
        let records = self.segments.iter().flat_map(|segment| &segment.records);
        let undone = records.filter_map(|record| {
            let topic = routes.get(&record.route)?;
            let others = entry.topics.iter().filter(|(id, _)| routes.get(id) == Some(topic));
            let done = others.map(|(_, done)| *done).chain([entry.done]).max().unwrap_or(0);
            (record.number >= done).then(|| PlainRecord { ros: topic.0.clone(), ..record.clone() })
        });
        undone.collect()
    }
}

impl PlainSegment {
    fn read(&mut self, bytes: &[u8], mark: Mark, first: u64) {
        let mut at = HEADER;
        let mut next = 0;
        while at < bytes.len() {
            let Some((frame, length)) = frame(&bytes[at..], Some(mark)) else {
                at += 1;
                continue;
            };
            if let Frame::Record { route, number, received, payload } = frame {
                if u64::from(number) < next {
                    at += 1;
                    continue;
                }
                next = u64::from(number) + 1;
                self.is_void = false;
                let number = first.saturating_add(u64::from(number));
                if self.before.is_some_and(|before| number >= before) {
                    return;
                }
                self.records.push(PlainRecord { number, route, ros: String::new(), received, payload });
            }
            at += length;
            self.end = at as u64;
        }
    }
}

fn header(bytes: &[u8], lane: Priority, first: u64) -> Result<Header, HeaderFault> {
    let mut head = [0; HEADER];
    let known = bytes.len().min(HEADER);
    head[..known].copy_from_slice(&bytes[..known]);
    Header::decode(&head, Stream::Lane(lane), first)
}

pub fn ledger(content: &Content) -> ledger::Found {
    let files = SimulatedFiles::new();
    if let Some(bytes) = content.get(LEDGER) {
        drop(files.create(LEDGER));
        files.corrupt(LEDGER, 0, bytes);
    }
    ledger::read(&files).unwrap_or(ledger::Found::Damaged)
}

fn queue_id(content: &Content) -> u64 {
    if let ledger::Found::Whole(entry) = ledger(content)
        && entry.queue_id != 0
    {
        return entry.queue_id;
    }
    let of_routes = content.get(ROUTES).and_then(|bytes| Header::decode(bytes.first_chunk()?, Stream::Routes, 0).ok());
    if let Some(header) = of_routes.filter(|header| header.queue_id != 0) {
        return header.queue_id;
    }
    let mut ids = LANES.into_iter().flat_map(|lane| {
        let mut files: Vec<_> = content
            .iter()
            .filter_map(|(path, bytes)| {
                let name = path.strip_prefix(directory(lane))?.strip_prefix('/')?;
                Some((first_number(name)?, bytes))
            })
            .collect();
        files.sort_unstable();
        files.into_iter().filter_map(move |(first, bytes)| {
            let id = header(bytes, lane, first).ok()?.queue_id;
            let mark = Mark::new(id, Stream::Lane(lane), first);
            let mut frames = (HEADER..bytes.len()).filter_map(|at| frame(&bytes[at..], Some(mark)));
            (id != 0 && frames.any(|(frame, _)| matches!(frame, Frame::Record { .. }))).then_some(id)
        })
    });
    ids.next().unwrap_or(0)
}

/// ROS and MQTT topic of each route, by its id.
fn routes(content: &Content) -> BTreeMap<u32, (String, String)> {
    let mut routes = BTreeMap::new();
    let mut learn = |bytes: &[u8], mark: Mark| {
        for at in HEADER.min(bytes.len())..bytes.len() {
            if let Some((Frame::Route { id, ros, mqtt }, _)) = frame(&bytes[at..], Some(mark)) {
                routes.entry(id).or_insert((ros, mqtt));
            }
        }
    };
    let queue_id = queue_id(content);
    if let Some(bytes) = content.get(ROUTES) {
        learn(bytes, Mark::new(queue_id, Stream::Routes, 0));
    }
    for lane in LANES {
        for (path, bytes) in content {
            let name = path.strip_prefix(directory(lane)).and_then(|name| name.strip_prefix('/'));
            let Some(first) = name.and_then(first_number) else { continue };
            let queue_id = header(bytes, lane, first).map_or(queue_id, |header| header.queue_id);
            learn(bytes, Mark::new(queue_id, Stream::Lane(lane), first));
        }
    }
    routes
}

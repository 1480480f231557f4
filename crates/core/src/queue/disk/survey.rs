//! What is in a queue's directory. Only looks: what has to be done about it is [`super::log`]'s.

mod walk;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::finding::{Fault, Finding};
use super::format::{HEADER_BYTES, Header, HeaderFault, Mark, StoredRecord, Stream};
use super::ledger::{self, Entry, Found, LEDGER};
use super::route_table::{self, DoneTopics, NEW_ROUTES, ROUTES, RouteTable};
use super::scan::{Item, Scan};
use super::segment::{Segment, directory, first_number, path};
use super::{LANES, LOCK, QUARANTINE};
use crate::config::Priority;
use crate::files::{EntryKind, Files};
use walk::Walk;

/// Numbers that a segment may hold at most; so far away from an unreadable one another may begin.
const MOST_NUMBERS: u64 = 1 << 32;

/// Everything that is known of a queue on the disk.
#[derive(Debug)]
pub struct Survey {
    pub entry: Entry,
    /// The ledger itself has to be set aside.
    pub ledger_is_broken: bool,
    pub routes: RouteTable,
    /// High, normal and low.
    pub lanes: [SurveyedLane; 3],
    pub findings: Vec<Finding>,
}

/// What is known of a lane.
#[derive(Debug, Default)]
pub struct SurveyedLane {
    /// With records that are not done, in their order.
    pub segments: Vec<Segment>,
    /// With nothing but what is done.
    pub done: Vec<Segment>,
    /// To be set aside at once, with their bytes.
    pub set_aside: Vec<(String, u64)>,
    /// Without anything in them.
    pub empty: Vec<String>,
    /// Of which the end is torn.
    pub torn: Vec<Segment>,
    /// The device did not give something of a segment that stays: a later start may read it.
    pub is_unreadable: bool,
    /// Records that are not done, by route.
    pub pending: BTreeMap<u32, Waiting>,
    /// The number that no record has had.
    pub next: u64,
}

impl SurveyedLane {
    /// When the oldest record that is not done was received.
    pub fn oldest_received_ns(&self) -> Option<i64> {
        self.pending.values().map(|waiting| waiting.oldest_received_ns).min()
    }
}

/// Records of a route that are not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub records: u64,
    /// Of their payloads.
    pub bytes: u64,
    /// The number of the first.
    pub first: u64,
    /// When the oldest of them was received: nanoseconds since 1970.
    pub oldest_received_ns: i64,
    pub newest_received_ns: i64,
}

impl Waiting {
    fn add(&mut self, number: u64, record: &StoredRecord<Bytes>) {
        self.records += 1;
        self.first = self.first.min(number);
        self.bytes += record.payload.len() as u64;
        self.oldest_received_ns = self.oldest_received_ns.min(record.received_ns);
        self.newest_received_ns = self.newest_received_ns.max(record.received_ns);
    }
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting { records: 0, bytes: 0, first: u64::MAX, oldest_received_ns: i64::MAX, newest_received_ns: i64::MIN }
    }
}

/// The survey was stopped by who watches its progress. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("looking through the queue was stopped")]
pub struct Stopped;

impl Stopped {
    /// Whether `error` says that.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|error| error.is::<Stopped>())
    }
}

/// Is shown how far a survey is, after each segment; says whether it goes on.
pub type Watch<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// A [`Watch`] for a survey that nobody watches.
pub fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// How far a survey is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub read: u64,
    pub of: u64,
}

/// Looks at everything in the directory.
///
/// # Errors
/// If the directory itself can't be read, or a file of the queue's may not be: that is mended from outside, and what
/// would be written meanwhile would make the file look done. [`Stopped`], if `progress` says so. Whatever else is wrong
/// with a file is a finding.
pub fn survey(files: &dyn Files, progress: Watch<'_>) -> io::Result<Survey> {
    let mut findings = Vec::new();
    foreigners(files, &mut findings)?;
    let mut listed: [Vec<(u64, u64)>; 3] = Default::default();
    for (lane, list) in LANES.into_iter().zip(&mut listed) {
        *list = segments_of(files, lane, &mut findings)?;
    }
    let found = unless_forbidden(LEDGER, ledger::read(files))?;
    let lost = |fault| Finding { file: LEDGER.to_owned(), fault };
    let any_segment = listed.iter().any(|list| !list.is_empty());
    let ledger_is_whole = matches!(found, Ok(Found::Whole(_)));
    let (mut entry, ledger_is_broken) = match found {
        Ok(Found::Whole(entry)) => (entry, false),
        Ok(Found::Nothing) => {
            if any_segment {
                findings.push(lost(Fault::LedgerLost));
            }
            (Entry::default(), false)
        }
        Ok(Found::Damaged) => {
            findings.push(lost(Fault::LedgerLost));
            (Entry::default(), true)
        }
        Ok(Found::UnknownVersion(version)) => {
            findings.push(lost(Fault::Header(HeaderFault::UnknownVersion(version))));
            (Entry::default(), true)
        }
        Err(error) => {
            findings.push(lost(Fault::Unreadable(error.to_string())));
            (Entry::default(), true)
        }
    };
    let headers = Headers::read(files, &listed)?;
    if entry.queue_id == 0 {
        let known = route_table::queue_id(files).or_else(|| headers.queue_id_of_records(files, &listed));
        entry.queue_id = known.unwrap_or_else(|| rand::random::<u64>().max(1));
    }
    let mut routes = RouteTable::default();
    match unless_forbidden(ROUTES, routes.read(files, entry.queue_id))? {
        Ok(true) => {}
        Ok(false) => {
            tracing::debug!("{ROUTES} is damaged; the segments hold their routes themselves.");
        }
        Err(error) => {
            findings.push(Finding { file: ROUTES.to_owned(), fault: Fault::Unreadable(error.to_string()) });
        }
    }
    let of = listed.iter().flatten().map(|(_, length)| length).sum();
    let mut surveyor = Surveyor { files, entry, ledger_is_whole, headers, routes, findings, read: 0, of, progress };
    let mut lanes: [SurveyedLane; 3] = Default::default();
    for (index, lane) in LANES.into_iter().enumerate() {
        lanes[index] = surveyor.lane(lane, &listed[index])?;
    }
    let Surveyor { entry, routes, mut findings, .. } = surveyor;
    for lane in &mut lanes {
        leave_out_unknown_routes(lane, &routes, &mut findings);
    }
    Ok(Survey { entry, ledger_is_broken, routes, lanes, findings })
}

/// The headers of all segments, by lane and first number.
struct Headers(BTreeMap<(Priority, u64), io::Result<Result<Header, HeaderFault>>>);

impl Headers {
    /// # Errors
    /// If one of them may not be opened.
    fn read(files: &dyn Files, listed: &[Vec<(u64, u64)>; 3]) -> io::Result<Headers> {
        let mut headers = BTreeMap::new();
        for (lane, list) in LANES.into_iter().zip(listed) {
            for &(first, _) in list {
                let header = unless_forbidden(&path(lane, first), read_header(files, lane, first))?;
                headers.insert((lane, first), header);
            }
        }
        Ok(Headers(headers))
    }

    /// Of the first segment with a record: others are gone after this start.
    fn queue_id_of_records(&self, files: &dyn Files, listed: &[Vec<(u64, u64)>; 3]) -> Option<u64> {
        let segments = LANES.into_iter().zip(listed).flat_map(|(lane, list)| list.iter().map(move |own| (lane, *own)));
        let mut ids = segments.filter_map(|(lane, (first, length))| {
            let id = self.0.get(&(lane, first))?.as_ref().ok()?.as_ref().ok()?.queue_id;
            (id != 0 && !holds_nothing(files, lane, (first, length), id)).then_some(id)
        });
        ids.next()
    }
}

/// What came of reading the file at `path`, unless that is not allowed.
fn unless_forbidden<T>(path: &str, read: io::Result<T>) -> io::Result<io::Result<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(io::Error::new(error.kind(), format!("{path}: {error}")))
        }
        other => Ok(other),
    }
}

fn read_header(files: &dyn Files, lane: Priority, first: u64) -> io::Result<Result<Header, HeaderFault>> {
    let file = files.open(&path(lane, first))?;
    let mut bytes = [0; HEADER_BYTES];
    // A bad sector there is damage like any other.
    let read = file.read_at(0, &mut bytes).unwrap_or(HEADER_BYTES);
    bytes[read..].fill(0);
    Ok(Header::decode(&bytes, Stream::Lane(lane), first))
}

struct Surveyor<'a> {
    files: &'a dyn Files,
    entry: Entry,
    ledger_is_whole: bool,
    headers: Headers,
    routes: RouteTable,
    findings: Vec<Finding>,
    read: u64,
    of: u64,
    progress: Watch<'a>,
}

impl Surveyor<'_> {
    /// Looks at the segments of `lane`: first numbers and lengths, in their order.
    fn lane(&mut self, lane: Priority, list: &[(u64, u64)]) -> io::Result<SurveyedLane> {
        let ledger = self.entry.lanes[lane as usize].clone();
        let mut done_topics = self.routes.done_topics(&ledger);
        let mut surveyed = SurveyedLane { next: ledger.reached(), ..SurveyedLane::default() };
        // Where the numbers have come to, of files that can be read.
        let mut reached = self.ledger_is_whole.then_some(ledger.done);
        let bounds = self.bounds(lane, list);
        for &(first, length) in list {
            let before = bounds.range(first + 1..).next().copied();
            if let Some(reached) = reached.filter(|&reached| first > reached) {
                let lost = reached.max(ledger.done).max(ledger.given_up)..first;
                if !lost.is_empty() {
                    self.find(path(lane, first), Fault::Missing { numbers: lost });
                }
            }
            let end = self.segment(lane, (first, length), before, (&mut surveyed, &mut done_topics));
            reached = end.or(before).max(reached);
            let next = end.unwrap_or_else(|| first.saturating_add(MOST_NUMBERS));
            surveyed.next = surveyed.next.max(before.map_or(next, |before| next.min(before)));
            if end.is_none() && before.is_none() {
                // The numbers that are left out are no loss.
                let entry = &mut self.entry.lanes[lane as usize];
                entry.given_up = entry.given_up.max(surveyed.next);
            }
            self.read += length;
            if (self.progress)(Progress { read: self.read, of: self.of }).is_break() {
                return Err(io::Error::other(Stopped));
            }
        }
        Ok(surveyed)
    }

    /// The first numbers of the segments that bound the one before: those with a record, or that may have one. What
    /// has none will be gone after this start, and the next one has to find the same.
    fn bounds(&self, lane: Priority, list: &[(u64, u64)]) -> BTreeSet<u64> {
        let segments = list.iter().filter(|(first, length)| !self.holds_nothing(lane, *first, *length));
        segments.map(|(first, _)| *first).collect()
    }

    /// Whether a segment has no record that can be read, and goes at this start.
    fn holds_nothing(&self, lane: Priority, first: u64, length: u64) -> bool {
        let Some(Ok(header)) = self.headers.0.get(&(lane, first)) else { return false };
        if matches!(header, Err(HeaderFault::UnknownVersion(_))) {
            return true;
        }
        let queue_id = header.map_or(self.entry.queue_id, |header| header.queue_id);
        holds_nothing(self.files, lane, (first, length), queue_id)
    }

    /// Looks at one segment. Returns where its numbers end, unless it can't be read.
    fn segment(
        &mut self,
        lane: Priority,
        (first, length): (u64, u64),
        before: Option<u64>,
        (surveyed, done_topics): (&mut SurveyedLane, &mut DoneTopics),
    ) -> Option<u64> {
        let file = path(lane, first);
        let header = self.headers.0.remove(&(lane, first)).and_then(|header| match header {
            Ok(header) => Some(header),
            Err(error) => {
                surveyed.is_unreadable = true;
                self.find(file.clone(), Fault::Unreadable(error.to_string()));
                None
            }
        })?;
        if let Err(fault @ HeaderFault::UnknownVersion(_)) = header {
            self.find(file.clone(), Fault::Header(fault));
            surveyed.set_aside.push((file, length));
            return None;
        }
        let queue_id = header.map_or(self.entry.queue_id, |header| header.queue_id);
        let mut segment = Segment {
            lane,
            numbers: first..first,
            length: 0,
            torn: 0,
            oldest_received_ns: i64::MAX,
            latest_expiry_ns: i64::MIN,
            written: header.ok().map(|header| header.written),
            queue_id,
            damaged: header.is_err(),
            routes: BTreeSet::new(),
        };
        let done = self.entry.lanes[lane as usize].done;
        if before.is_some_and(|before| before <= done) && header.is_ok() {
            segment.numbers.end = before.unwrap_or(first);
            segment.length = length;
            surveyed.done.push(segment);
            return before;
        }
        let findings = self.findings.len();
        let walk = Walk {
            segment: &mut segment,
            before,
            ledger: &self.entry.lanes[lane as usize],
            done_topics,
            routes: &mut self.routes,
            pending: &mut surveyed.pending,
            findings: &mut self.findings,
            damage: None,
            done: HashMap::new(),
        };
        let walked = match walk.read(self.files, length) {
            Ok(walked) => walked,
            Err(error) => {
                surveyed.is_unreadable = true;
                self.find(file, Fault::Unreadable(error.to_string()));
                return None;
            }
        };
        segment.torn = length - segment.length;
        let is_unreadable = walked.error.is_some();
        if let Some(error) = walked.error {
            // Whatever the device does not give may be whole.
            segment.damaged = true;
            self.find(file.clone(), Fault::Unreadable(error));
            if segment.numbers.is_empty() {
                surveyed.set_aside.push((file, length));
                return None;
            }
            surveyed.is_unreadable = true;
        }
        if segment.numbers.is_empty() {
            // A file that was just begun when the power went has no header, or nothing but that.
            let begun = header.is_ok() || length < HEADER_BYTES as u64 || self.is_zeros(&file, length);
            match header {
                _ if begun => {
                    self.findings.truncate(findings);
                    let place = if header.is_ok() { HEADER_BYTES as u64 } else { 0 }..length;
                    if !place.is_empty() {
                        self.find(file.clone(), Fault::TornTail { place });
                    }
                    surveyed.empty.push(file);
                }
                Ok(_) => {}
                Err(fault) => {
                    self.find(file.clone(), Fault::Header(fault));
                    surveyed.set_aside.push((file, length));
                }
            }
            return Some(first);
        }
        if header.is_err() {
            self.find(file, Fault::Damage { place: 0..HEADER_BYTES as u64, lost: 0 });
        }
        if walked.is_torn {
            surveyed.torn.push(segment.clone());
        }
        let end = segment.numbers.end;
        let list = if end <= done { &mut surveyed.done } else { &mut surveyed.segments };
        list.push(segment);
        (!is_unreadable).then_some(end)
    }

    fn is_zeros(&self, path: &str, length: u64) -> bool {
        let Ok(file) = self.files.open(path) else { return false };
        let mut buffer = vec![0; 64 << 10];
        let mut at = 0;
        while at < length {
            match file.read_at(at, &mut buffer) {
                Ok(0) => break,
                Err(_) => return false,
                Ok(read) if buffer[..read].iter().any(|&byte| byte != 0) => return false,
                Ok(read) => at += read as u64,
            }
        }
        true
    }

    fn find(&mut self, file: String, fault: Fault) {
        self.findings.push(Finding { file, fault });
    }
}

/// Whether a segment of the queue with this id can be read and has no record.
fn holds_nothing(files: &dyn Files, lane: Priority, (first, length): (u64, u64), queue_id: u64) -> bool {
    let Ok(file) = files.open(&path(lane, first)) else { return false };
    let mark = Mark::new(queue_id, Stream::Lane(lane), first);
    let mut scan = Scan::new(file, mark, HEADER_BYTES as u64, length);
    loop {
        match scan.advance() {
            Ok(Some(Item::Route { .. } | Item::Damage { .. })) => {}
            Ok(None) => return true,
            Ok(Some(Item::Record { .. })) | Err(_) => return false,
        }
    }
}

/// First number and length of the segments of `lane`, in their order.
fn segments_of(files: &dyn Files, lane: Priority, findings: &mut Vec<Finding>) -> io::Result<Vec<(u64, u64)>> {
    let entries = match files.list(directory(lane)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut segments = Vec::new();
    for entry in entries {
        match (first_number(&entry.name), entry.kind) {
            (Some(first), EntryKind::File { length }) => segments.push((first, length)),
            _ => {
                let file = format!("{}/{}", directory(lane), entry.name);
                findings.push(Finding { file, fault: Fault::Foreign });
            }
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// What is in the queue's directory itself and is not the queue's.
fn foreigners(files: &dyn Files, findings: &mut Vec<Finding>) -> io::Result<()> {
    for entry in files.list("")? {
        let ours = [LEDGER, ROUTES, NEW_ROUTES, LOCK, QUARANTINE].contains(&entry.name.as_str())
            || LANES.iter().any(|&lane| directory(lane) == entry.name);
        // File systems keep what they found broken there.
        if !ours && entry.name != "lost+found" {
            findings.push(Finding { file: entry.name, fault: Fault::Foreign });
        }
    }
    Ok(())
}

/// Records whose route nothing names can't be sent.
fn leave_out_unknown_routes(lane: &mut SurveyedLane, routes: &RouteTable, findings: &mut Vec<Finding>) {
    let unknown = lane.pending.extract_if(.., |id, _| routes.get(*id).is_none());
    let unknown: u64 = unknown.map(|(_, waiting)| waiting.records).sum();
    if unknown > 0
        && let Some(segment) = lane.segments.first()
    {
        let file = directory(segment.lane).to_owned();
        findings.push(Finding { file, fault: Fault::UnknownRoute { records: unknown } });
        // Which of them hold such records is not known here; all of them are kept.
        lane.segments.iter_mut().for_each(|segment| segment.damaged = true);
    }
}

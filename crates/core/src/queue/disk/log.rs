//! The queue's log on the disk: three lanes of segments, and the ledger of what is done. Single-threaded; whoever calls
//! it waits for the disk.

mod forget;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::{Clock, Written};
use super::finding::{Fault, Finding};
use super::format::{HEADER_BYTES, Header, Mark, StoredRoute, Stream, record_bytes};
use super::ledger::{self, Entry, LEDGER, LaneEntry, Ledger};
use super::quarantine::Quarantine;
use super::reader::Reader;
use super::route_ids::RouteIds;
use super::route_table::{self, LONG_AT_START, RouteTable};
use super::scan::{Item, Scan};
use super::segment::{Pending, Segment, Writer, directory, on_disk, path};
use super::survey::{SurveyedLane, Watch, survey};
use super::{LANES, LOCK};
use crate::config::Priority;
use crate::files::{Files, Named};
use crate::queue::store::Done;
use crate::queue::{RECORD_OVERHEAD, Record, Route};
use crate::topics::{TopicId, TopicMap};

/// Bytes of the directories: the queue's own, the lanes', and the quarantine's.
const DIRECTORIES: u64 = 5 * 4096;

/// A segment is this part of the disk's bound: when a whole one has to give way, that is how much is lost at once.
const SEGMENTS: u64 = 64;

/// Bounds of a segment's size.
const SEGMENT_BYTES: Range<u64> = 64 << 10..16 << 20;

/// How far the time of day may jump before a new segment is begun, which knows the new time.
const CLOCK_JUMP_NS: u64 = 1_000_000_000;

/// A segment that is done is kept this long after the last write to it: more may follow.
const IDLE: Duration = Duration::from_secs(10);

/// Finds, or makes, the route that the queue uses for records of a lane that name this stored one.
pub type Adopt = dyn Fn(&StoredRoute, Priority) -> Arc<Route> + Send + Sync;

/// What the log needs to know.
#[derive(Clone)]
pub struct Options {
    /// Most bytes of all files together.
    pub bound: u64,
    pub clock: Clock,
    pub adopt: Arc<Adopt>,
}

/// The log.
pub struct Log {
    files: Arc<dyn Files>,
    options: Options,
    ledger: Ledger,
    routes: RouteTable,
    quarantine: Quarantine,
    lanes: [Lane; 3],
    /// Segments that nobody needs once the ledger says so; they still take room.
    retired: Vec<Segment>,
    ids: RouteIds,
    /// How many topics the ledger has that the queue does not have, or not yet.
    left_in_ledger: usize,
    /// Something has gone that may have been the last to name a route.
    may_shrink: bool,
    /// The device did not give something at the start that may name any route: a later start may read it.
    is_unreadable: bool,
    lock: Box<dyn Named>,
}

#[derive(Debug, Default)]
struct Lane {
    segments: VecDeque<Segment>,
    /// Writes the last of the segments.
    writer: Option<(Writer, Instant)>,
    reader: Option<Reader>,
    /// The number that the next record gets.
    next: u64,
    given_up: u64,
    /// Bytes of the file that a failed first append has left where the next segment will begin.
    left: u64,
}

/// What an earlier process has left in a lane.
#[derive(Debug, Default)]
pub struct Recovered {
    pub next: u64,
    /// How many records of a topic, and the number from which on they are.
    pub records: Vec<(Arc<Route>, u64, u64)>,
    pub oldest_received_ns: Option<i64>,
}

/// Records that were read.
#[derive(Debug, Default)]
pub struct Read {
    pub records: Vec<(u64, Record)>,
    /// Where to go on reading.
    pub next: u64,
}

impl Log {
    /// Takes the directory over: looks at everything in it and mends what can be mended.
    ///
    /// # Errors
    /// If the directory can't be used at all: another process has it, it can't be read or written. Whatever is wrong
    /// with single files is a finding.
    pub fn open(
        files: Arc<dyn Files>,
        options: Options,
        progress: Watch<'_>,
    ) -> io::Result<(Log, [Recovered; 3], Vec<Finding>)> {
        files.make_directory("")?;
        let lock = files.lock(LOCK)?;
        for lane in LANES {
            files.make_directory(directory(lane))?;
        }
        files.sync_directory("")?;
        let surveyed = survey(&*files, progress)?;
        route_table::remove_new(&*files)?;
        let mut quarantine = Quarantine::open(&*files, options.bound);
        if surveyed.ledger_is_broken {
            quarantine.take(&*files, LEDGER, on_disk(ledger::bytes(&*files)))?;
        }
        let entry = surveyed.entry.clone();
        let surveyed_routes = surveyed.routes.count();
        let mut log = Log {
            ledger: Ledger::open(&*files, entry.clone())?,
            routes: surveyed.routes,
            quarantine,
            lanes: Default::default(),
            retired: Vec::new(),
            ids: RouteIds::default(),
            left_in_ledger: 0,
            may_shrink: surveyed_routes > LONG_AT_START,
            is_unreadable: surveyed.lanes.iter().any(|lane| lane.is_unreadable),
            files,
            options,
            lock,
        };
        let mut recovered: [Recovered; 3] = Default::default();
        for (index, lane) in surveyed.lanes.into_iter().enumerate() {
            recovered[index] = log.take_over(LANES[index], lane, &entry.lanes[index]);
        }
        log.count_left();
        log.remove_retired()?;
        log.tidy_routes()?;
        Ok((log, recovered, surveyed.findings))
    }

    /// An error of the kind [`NotFound`](io::ErrorKind::NotFound) if what is open is not what is in the directory: it
    /// was removed, or another one is in its place.
    pub fn check_names(&self) -> io::Result<()> {
        self.lock.check_name()?;
        self.ledger.check_name()?;
        self.lanes.iter().filter_map(|lane| lane.writer.as_ref()).try_for_each(|(writer, _)| writer.check_name())
    }

    /// The number behind the last that a file of `lane` holds; 0 if there is none.
    pub fn end(&self, lane: Priority) -> u64 {
        self.lanes[lane as usize].segments.back().map_or(0, |segment| segment.numbers.end)
    }

    /// Records of `lane` get no number below `next`.
    pub fn go_on_from(&mut self, lane: Priority, next: u64) {
        let own = &mut self.lanes[lane as usize];
        if own.next < next {
            // Those between were never used, or are gone and told.
            (own.next, own.given_up) = (next, next);
        }
    }

    /// Does for one lane what its survey asks for. What can't be done is said, and tried again at the next start.
    fn take_over(&mut self, lane: Priority, surveyed: SurveyedLane, ledger: &LaneEntry) -> Recovered {
        let oldest_received_ns = surveyed.oldest_received_ns();
        for torn in &surveyed.torn {
            let cut = self.files.open_to_write(&torn.path()).and_then(|mut file| {
                file.set_length(torn.length)?;
                file.sync()
            });
            complain("cut", &torn.path(), cut);
        }
        for file in &surveyed.empty {
            complain("deleted", file, self.files.remove(file));
        }
        for (file, length) in surveyed.set_aside {
            let aside = self.quarantine.take(&*self.files, &file, on_disk(length));
            complain("set aside", &file, aside.map(drop));
        }
        complain("synced", directory(lane), self.files.sync_directory(directory(lane)));
        self.retired.extend(surveyed.done);
        let own = &mut self.lanes[lane as usize];
        own.segments = surveyed.segments.into();
        own.next = surveyed.next;
        own.given_up = ledger.given_up;
        let next = own.next;
        let pending = surveyed.pending.into_iter();
        let records =
            pending.filter_map(|(id, waiting)| Some((self.adopt(id, lane)?, waiting.records, waiting.first))).collect();
        Recovered { next, records, oldest_received_ns }
    }

    /// Bytes that all files take of the disk.
    pub fn bytes(&self) -> u64 {
        let segments = self.lanes.iter().flat_map(|lane| &lane.segments).chain(&self.retired);
        let segments: u64 = segments.map(Segment::bytes).sum();
        let left: u64 = self.lanes.iter().map(|lane| lane.left).sum();
        // With room for all topics that may have to be told apart.
        let ledger = self.ledger.bytes().max(ledger::bytes_for(self.ids.len() + self.left_in_ledger));
        let tables = on_disk(self.routes.bytes()) + ledger + DIRECTORIES;
        segments + left + self.quarantine.bytes() + tables
    }

    /// Bytes of the segments of `lane`.
    pub fn lane_bytes(&self, lane: Priority) -> u64 {
        self.lanes[lane as usize].segments.iter().map(|segment| segment.length).sum()
    }

    /// Bytes of the files that are set aside.
    pub fn quarantined(&self) -> u64 {
        self.quarantine.bytes()
    }

    /// The number that the next record of `lane` gets.
    pub fn next(&self, lane: Priority) -> u64 {
        self.lanes[lane as usize].next
    }

    /// How often the ledger was written.
    pub fn ledger_writes(&self) -> u64 {
        self.ledger.generation()
    }

    /// What the ledger says, durably.
    pub fn ledger(&self) -> &Entry {
        self.ledger.written()
    }

    /// Whether `records`, or the first of them, fit within the bound.
    pub fn has_room(&self, records: &[Record]) -> bool {
        let payload: usize = records.first().map_or(0, |record| record_bytes(record.payload.len()));
        // Beside the record: a new segment's header, its route here and in the table, and what is lost to whole blocks.
        let beside = on_disk(payload as u64 + HEADER_BYTES as u64 + 2048) + 4096;
        self.bytes() + beside <= self.options.bound
    }

    /// Writes the first of `records`, as many as one segment takes and the bound allows, and makes them durable. They
    /// get the numbers from [`next`](Log::next) on. Returns how many there are, at least one.
    ///
    /// # Errors
    /// None of them is to be called durable then. What is written again later gets the same numbers.
    pub fn append(&mut self, lane: Priority, records: &[Record], now: Instant) -> io::Result<usize> {
        let result = self.try_append(lane, records, now);
        if result.is_err() {
            let own = &mut self.lanes[lane as usize];
            own.writer = None;
            // Without a durable record it never was one. What is left of it is written over by its successor.
            own.left = own.segments.pop_back_if(|segment| segment.length == 0).map_or(own.left, |left| left.bytes());
        }
        result
    }

    fn try_append(&mut self, lane: Priority, records: &[Record], now: Instant) -> io::Result<usize> {
        let room = self.options.bound.saturating_sub(self.bytes());
        let written = self.options.clock.written_now();
        self.ensure_writer(lane, written, now)?;
        let own = &self.lanes[lane as usize];
        let (Some((writer, _)), Some(segment)) = (&own.writer, own.segments.back()) else {
            return Err(io::Error::other("no segment"));
        };
        let (written, queue_id) = (writer.written(), segment.queue_id);
        let mut length = segment.length + HEADER_BYTES as u64;
        let most = self.segment_bytes().min((segment.length + room).saturating_sub(4096));
        let fits = |(index, record): &(usize, &Record)| {
            length += record_bytes(record.payload.len()) as u64;
            *index == 0 || length <= most
        };
        let records = &records[..records.iter().enumerate().take_while(fits).count()];
        let routes = self.route_ids(records, queue_id)?;
        let pending = records.iter().zip(routes).map(|(record, route)| {
            let expires_ns = self.options.clock.to_disk(record.expires, written);
            Pending { record: record.clone(), route, expires_ns }
        });
        let pending: Vec<_> = pending.collect();
        let own = &mut self.lanes[lane as usize];
        let (Some((writer, last)), Some(segment)) = (&mut own.writer, own.segments.back_mut()) else {
            return Err(io::Error::other("no segment"));
        };
        writer.append(&*self.files, &self.routes, segment, own.next, &pending)?;
        *last = now;
        own.next += pending.len() as u64;
        Ok(pending.len())
    }

    /// Sees to it that the lane's last segment is open and may grow.
    fn ensure_writer(&mut self, lane: Priority, written: Written, now: Instant) -> io::Result<()> {
        let full = self.segment_bytes();
        let own = &mut self.lanes[lane as usize];
        if let (Some((writer, _)), Some(segment)) = (&own.writer, own.segments.back())
            && segment.length < full
            && writer.written().offset.abs_diff(written.offset) < CLOCK_JUMP_NS
        {
            return Ok(());
        }
        own.writer = None;
        let queue_id = self.ledger.written().queue_id;
        let create = || Writer::create(&*self.files, lane, own.next, queue_id, written);
        let writer = match create() {
            // What an append that failed has left: nothing of it is durable.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.files.remove(&path(lane, own.next))?;
                own.left = 0;
                create()?
            }
            other => other?,
        };
        own.writer = Some((writer, now));
        own.segments.push_back(Segment {
            lane,
            numbers: own.next..own.next,
            length: 0,
            torn: 0,
            oldest_received_ns: i64::MAX,
            latest_expiry_ns: i64::MIN,
            written: Some(written),
            queue_id,
            damaged: false,
            routes: BTreeSet::new(),
        });
        Ok(())
    }

    fn segment_bytes(&self) -> u64 {
        (self.options.bound / SEGMENTS).clamp(SEGMENT_BYTES.start, SEGMENT_BYTES.end)
    }

    /// The ids of the routes of `records`, which are durable.
    fn route_ids(&mut self, records: &[Record], queue_id: u64) -> io::Result<Vec<u32>> {
        let known: Option<Vec<u32>> = records.iter().map(|record| self.ids.get(&record.route)).collect();
        if let Some(known) = known {
            return Ok(known);
        }
        let mut told = HashSet::new();
        let routes = records.iter().map(|record| &record.route);
        let is_new = |route: &&Arc<Route>| self.ids.get(route).is_none() && told.insert(Arc::as_ptr(route));
        let new: Vec<_> = routes.filter(is_new).collect();
        let stored: Vec<_> = new.iter().map(|route| StoredRoute::of(route)).collect();
        let written = Written { offset: 0, ..self.options.clock.written_now() };
        let header = Header { stream: Stream::Routes, first: 0, queue_id, written };
        let ids = self.routes.ids_of(&*self.files, header, &stored)?;
        ids.into_iter().zip(new).for_each(|(id, route)| self.ids.insert(id, route));
        // All of them are known now.
        Ok(records.iter().filter_map(|record| self.ids.get(&record.route)).collect())
    }

    fn adopt(&mut self, id: u32, lane: Priority) -> Option<Arc<Route>> {
        if let Some(route) = self.ids.route(id, lane) {
            return Some(route);
        }
        let route = (self.options.adopt)(self.routes.get(id)?, lane);
        self.ids.insert(id, &route);
        Some(route)
    }

    /// Reads records of `lane` with these numbers, up to about `bytes` of them, at least one if there is one.
    pub fn read(&mut self, lane: Priority, numbers: Range<u64>, bytes: u64, now: Instant) -> io::Result<Read> {
        let (mut read, mut taken) = (Read { next: numbers.start, ..Read::default() }, 0);
        while taken < bytes && read.next < numbers.end {
            let own = &mut self.lanes[lane as usize];
            let Some(segment) = own.segments.iter_mut().find(|segment| segment.numbers.end > read.next) else {
                read.next = numbers.end;
                break;
            };
            let reader = match own.reader.take().filter(|reader| reader.is_at(segment, read.next)) {
                Some(reader) => reader,
                None => Reader::open(&*self.files, segment, read.next)?,
            };
            let reader = own.reader.insert(reader);
            let Some((number, stored)) = reader.next(segment)? else {
                read.next = segment.numbers.end;
                own.reader = None;
                continue;
            };
            let written = segment.written;
            if number >= numbers.end {
                // Gone on to what is not asked for.
                own.reader = None;
                read.next = numbers.end;
                break;
            }
            read.next = number + 1;
            // What the queue has no topic of is done.
            let route = self.ids.topic(stored.route, lane).and_then(|_| self.adopt(stored.route, lane));
            let Some(route) = route else { continue };
            taken += stored.payload.len() as u64 + RECORD_OVERHEAD;
            let expires = self.options.clock.from_disk(stored.expires_ns, stored.received_ns, written, now);
            let record = Record { route, payload: stored.payload, received_ns: stored.received_ns, expires };
            read.records.push((number, record));
        }
        Ok(read)
    }

    /// The oldest segment of `lane` that holds none of the numbers `spared`.
    pub fn oldest(&self, lane: Priority, spared: &BTreeSet<u64>) -> Option<&Segment> {
        let mut segments = self.lanes[lane as usize].segments.iter();
        segments.find(|segment| spared.range(segment.numbers.clone()).next().is_none())
    }

    /// Whether all records of `segment` have expired.
    pub fn has_expired(&self, segment: &Segment, now: Instant) -> bool {
        let times = (segment.oldest_received_ns, segment.latest_expiry_ns);
        self.options.clock.has_expired(times, segment.written, now)
    }

    /// Counts the records of `segment` with numbers in the `gaps` of their topics.
    pub fn count(&mut self, segment: &Segment, gaps: &TopicMap<Range<u64>>) -> io::Result<Vec<(Arc<Route>, u64)>> {
        let mark = Mark::new(segment.queue_id, Stream::Lane(segment.lane), segment.numbers.start);
        let file = self.files.open(&segment.path())?;
        let mut scan = Scan::new(file, mark, HEADER_BYTES as u64, segment.length);
        let mut counts = BTreeMap::<u32, u64>::new();
        while let Some(item) = scan.advance()? {
            if let Item::Record { record, .. } = item {
                let number = segment.numbers.start + u64::from(record.number);
                let gap = self.ids.topic(record.route, segment.lane).and_then(|topic| gaps.get(&topic));
                if gap.is_some_and(|gap| gap.contains(&number)) && number < segment.numbers.end {
                    *counts.entry(record.route).or_default() += 1;
                }
            }
        }
        Ok(counts.into_iter().filter_map(|(id, count)| Some((self.adopt(id, segment.lane)?, count))).collect())
    }

    /// The records of the segment that begins with `first` are given up: it is removed with the next
    /// [`commit`](Log::commit).
    pub fn give_up(&mut self, lane: Priority, first: u64) {
        let own = &mut self.lanes[lane as usize];
        let Some(index) = own.segments.iter().position(|segment| segment.numbers.start == first) else { return };
        if index + 1 == own.segments.len() {
            own.writer = None;
        }
        own.reader = None;
        if let Some(segment) = own.segments.remove(index) {
            own.given_up = own.given_up.max(segment.numbers.end);
            self.retired.push(segment);
        }
    }

    /// What the ledger would say of `done`.
    fn entry_of(&self, done: &[Done; 3]) -> Entry {
        let mut entry = self.ledger.written().clone();
        for (priority, done) in LANES.into_iter().zip(done) {
            let (lane, own) = (&mut entry.lanes[priority as usize], &self.lanes[priority as usize]);
            lane.done = lane.done.max(done.below);
            lane.given_up = lane.given_up.max(own.given_up);
            // What has no id was never written.
            let ids = |(topic, done): &(_, u64)| {
                let done = *done;
                self.ids.of_topic(priority, *topic).map(move |id| (id, done))
            };
            for (id, done) in done.topics.iter().flat_map(ids) {
                let known = lane.topics.entry(id).or_insert(done);
                *known = done.max(*known);
            }
            lane.topics.retain(|_, known| *known > lane.done);
        }
        entry
    }

    /// Whether the ledger does not say yet what is `done`.
    pub fn is_news(&self, done: &[Done; 3]) -> bool {
        LANES.into_iter().zip(done).any(|(lane, done)| {
            let (written, own) = (&self.ledger.written().lanes[lane as usize], &self.lanes[lane as usize]);
            let below = written.done.max(done.below);
            let is_unknown = |(topic, done): &(TopicId, u64)| {
                let mut ids = self.ids.of_topic(lane, *topic).filter(|_| *done > below);
                ids.any(|id| written.topics.get(&id).is_none_or(|known| known < done))
            };
            below > written.done || own.given_up > written.given_up || done.topics.iter().any(is_unknown)
        })
    }

    /// Makes durable what is `done`, and removes the files that nobody needs any more. With `all`, also the last ones,
    /// to which no more is written.
    pub fn commit(&mut self, done: &[Done; 3], all: bool, now: Instant) -> io::Result<()> {
        let entry = self.entry_of(done);
        if entry != *self.ledger.written() {
            self.ledger.write(entry)?;
        }
        for (lane, done) in self.lanes.iter_mut().zip(done) {
            while let Some(segment) = lane.segments.front().filter(|segment| segment.numbers.end <= done.below) {
                let is_last = lane.segments.len() == 1;
                let in_use = lane.writer.as_ref().is_some_and(|(_, last)| now.duration_since(*last) < IDLE);
                if is_last && in_use && !all || segment.numbers.is_empty() {
                    break;
                }
                if is_last {
                    lane.writer = None;
                }
                lane.reader = None;
                self.retired.extend(lane.segments.pop_front());
            }
        }
        self.remove_retired()
    }

    /// Raises the ceiling of sequence numbers, durably.
    pub fn raise_ceiling(&mut self, ceiling: u64) -> io::Result<()> {
        let mut entry = self.ledger.written().clone();
        entry.sequence_ceiling = entry.sequence_ceiling.max(ceiling);
        self.ledger.write(entry)
    }

    /// Whether files wait to be removed.
    pub fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Whether [`commit`](Log::commit) could remove a segment that is done.
    pub fn holds_done(&self, done: &[Done; 3], now: Instant) -> bool {
        self.lanes.iter().zip(done).any(|(lane, done)| {
            let in_use = lane.writer.as_ref().is_some_and(|(_, last)| now.duration_since(*last) < IDLE);
            let needed = usize::from(in_use);
            lane.segments.front().is_some_and(|segment| segment.numbers.end <= done.below)
                && lane.segments.len() > needed
        })
    }

    fn remove_retired(&mut self) -> io::Result<()> {
        let mut touched = [false; 3];
        while let Some(segment) = self.retired.last() {
            let path = segment.path();
            if segment.damaged {
                match self.quarantine.take(&*self.files, &path, segment.bytes()) {
                    Ok(place) => {
                        tracing::warn!(file = place, "The damaged {path} of the queue was set aside: {place}.")
                    }
                    // An earlier try has moved it and failed after that.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            } else {
                match self.files.remove(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            (touched[segment.lane as usize], self.may_shrink) = (true, true);
            self.retired.pop();
        }
        for lane in LANES.into_iter().filter(|&lane| touched[lane as usize]) {
            self.files.sync_directory(directory(lane))?;
        }
        Ok(())
    }
}

fn complain(what: &str, file: &str, result: io::Result<()>) {
    if let Err(error) = result {
        let finding = Finding { file: file.to_owned(), fault: Fault::Unreadable(error.to_string()) };
        tracing::warn!(file, "{file} could not be {what}: {error}.");
        tracing::debug!("{finding}");
    }
}

//! One segment, read from its front: what is in it, and what a survey finds wrong with it.
//!
//! Damage is told when it is known how many records it has cost: from the number of the record that follows it, or at the
//! end from the number at which the next segment begins. An example, with records 10, 11 and 13, one that can't be read
//! between, and a next segment that begins with 15:
//!
//! ```text
//!  item   10   11   damage   13           damage at the end
//!  told                       12 is lost   14 is lost
//! ```

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::{ControlFlow, Range};

use bytes::Bytes;

use super::Waiting;
use crate::files::Files;
use crate::queue::disk::finding::{Fault, Finding};
use crate::queue::disk::format::{HEADER_BYTES, Mark, StoredRecord, StoredRoute, Stream};
use crate::queue::disk::ledger::LaneEntry;
use crate::queue::disk::route_table::{DoneTopics, RouteTable};
use crate::queue::disk::scan::{Item, Scan};
use crate::queue::disk::segment::Segment;

/// What a walk through a segment has come to.
pub(super) struct Walked {
    /// What stands behind the last record is what a power cut leaves of a write.
    pub(super) is_torn: bool,
    /// Of the device, if there is something that it did not give.
    pub(super) error: Option<String>,
}

/// A walk through a segment, with what it fills in.
pub(super) struct Walk<'a> {
    pub(super) segment: &'a mut Segment,
    /// The number at which the next segment begins.
    pub(super) before: Option<u64>,
    /// What the ledger says of the segment's lane.
    pub(super) ledger: &'a LaneEntry,
    /// The same, by topic.
    pub(super) done_topics: &'a mut DoneTopics,
    pub(super) routes: &'a mut RouteTable,
    /// Records that are not done, by route.
    pub(super) pending: &'a mut BTreeMap<u32, Waiting>,
    pub(super) findings: &'a mut Vec<Finding>,
    /// What was damaged since the last record.
    pub(super) damage: Option<Range<u64>>,
    /// Below which number all is done, by route.
    pub(super) done: HashMap<u32, u64>,
}

impl Walk<'_> {
    /// Reads all of the segment, whose file has `length` bytes.
    ///
    /// # Errors
    /// If the file can't be opened or read.
    pub(super) fn read(mut self, files: &dyn Files, length: u64) -> io::Result<Walked> {
        let mark = Mark::new(self.segment.queue_id, Stream::Lane(self.segment.lane), self.segment.numbers.start);
        let file = files.open(&self.segment.path())?;
        let mut scan = Scan::new(file, mark, HEADER_BYTES as u64, length);
        self.segment.length = length.min(HEADER_BYTES as u64);
        let mut is_torn = false;
        while let Some(item) = scan.advance()? {
            match item {
                Item::Route { id, route } => self.route(id, route, scan.position()),
                Item::Record { record, place } => {
                    if self.record(&record, place).is_break() {
                        break;
                    }
                }
                Item::Damage { place, tail: false } => self.damage = Some(self.with_damage_before(place)),
                Item::Damage { place, tail: true } => {
                    is_torn = self.tail(place, scan.error().is_some());
                    break;
                }
            }
        }
        Ok(Walked { is_torn, error: scan.error().map(io::Error::to_string) })
    }

    /// A route, which ends at `end` in the file.
    fn route(&mut self, id: u32, route: StoredRoute, end: u64) {
        self.done_topics.learn(self.ledger, id, &route);
        self.routes.learn(id, route);
        self.segment.routes.insert(id);
        self.done.remove(&id);
        self.segment.length = end;
    }

    /// A record. Breaks if its number is one of the next segment's, where it was written again: then the walk is over.
    fn record(&mut self, record: &StoredRecord<Bytes>, place: Range<u64>) -> ControlFlow<()> {
        let number = self.segment.numbers.start + u64::from(record.number);
        if let Some(before) = self.before.filter(|before| number >= *before) {
            self.miss_up_to(before, place.start);
            return ControlFlow::Break(());
        }
        let lost = number - self.segment.numbers.end;
        if let Some(place) = self.damage.take() {
            self.segment.damaged |= lost > 0;
            self.find(Fault::Damage { place, lost });
        }
        let segment = &mut *self.segment;
        segment.numbers.end = number + 1;
        segment.length = place.end;
        segment.routes.insert(record.route);
        segment.oldest_received_ns = segment.oldest_received_ns.min(record.received_ns);
        segment.latest_expiry_ns = segment.latest_expiry_ns.max(record.expires_ns);
        let done = self.done.entry(record.route).or_insert_with(|| {
            let by_topic = self.routes.get(record.route).map_or(0, |route| self.done_topics.of(route));
            by_topic.max(self.ledger.done_of(record.route))
        });
        if number >= *done {
            self.pending.entry(record.route).or_default().add(number, record);
        }
        ControlFlow::Continue(())
    }

    /// All records below `before` should have been found by the byte `end`.
    fn miss_up_to(&mut self, before: u64, end: u64) {
        let lost = before - self.segment.numbers.end;
        if lost > 0 {
            let start = self.damage.take().map_or(self.segment.length, |damage| damage.start);
            (self.segment.damaged, self.segment.numbers.end) = (true, before);
            self.find(Fault::Damage { place: start..end, lost });
        }
    }

    /// Nothing whole follows from the start of `place` on. Returns whether that is what a power cut leaves of a write.
    fn tail(&mut self, place: Range<u64>, is_unreadable: bool) -> bool {
        let place = self.with_damage_before(place);
        let begun = self.segment.numbers.end.max(self.ledger.given_up);
        if let Some(before) = self.before.filter(|before| *before > begun) {
            // Told as missing, too, if the next segment does not follow; here is where they were.
            (self.segment.damaged, self.segment.numbers.end) = (true, before);
            self.find(Fault::Damage { place, lost: before - begun });
            return false;
        }
        if !is_unreadable {
            self.find(Fault::TornTail { place });
        }
        !is_unreadable
    }

    /// `place` together with the damage before it.
    fn with_damage_before(&mut self, place: Range<u64>) -> Range<u64> {
        self.damage.take().map_or(place.start, |damage| damage.start)..place.end
    }

    fn find(&mut self, fault: Fault) {
        self.findings.push(Finding { file: self.segment.path(), fault });
    }
}

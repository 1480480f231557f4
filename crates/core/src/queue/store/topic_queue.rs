//! The records of one topic in one lane.
//!
//! ```text
//!   oldest                                                      just admitted
//!   ┌──────────────── front ─────────────────┬──── gap ────┬──── back ────┐
//!   │ done · leased ·┊ waiting               │ on the disk │ waiting      │
//!   └────────────────┴───────────────────────┴─────────────┴──────────────┘
//!                    ^ next to be leased
//! ```
//!
//! Without a gap, everything is in the front. Records in memory may be on the disk too.
//!
//! The gap is a range of numbers, and every record of the topic in that range is read back from the disk when its turn
//! comes. So no record in that range may have ended already: it would be sent twice. What ended before an older record
//! did therefore keeps all that is older in memory, and a record that is on the disk expires only when it is at the
//! head. For example:
//!
//! | what happens | leased | waits in memory | what may go into a gap |
//! | --- | --- | --- | --- |
//! | records 5 to 9 are written to the disk | | 5 6 7 8 9 | 5 to 9 |
//! | 5, 6 and 7 are leased | 5 6 7 | 8 9 | 8 and 9 |
//! | the broker acknowledges 7 first | 5 6 | 8 9 | 8 and 9 |
//! | the connection is lost: 5 and 6 are requeued | | 5 6 8 9 | 8 and 9; from 5 on, 7 would come back |
//! | memory is short: 8 and 9 are in a gap | | 5 6 | |
//! | 8 and 9 are read back | | 5 6 8 9 | 8 and 9 |

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Instant;

use super::LeaseId;
pub(super) use super::entry::{Entry, Place, State};
use crate::config::PAYLOAD_LIMIT;
use crate::queue::disk::clock::{Shift, shifted};
use crate::queue::{RECORD_OVERHEAD, Record, Route};

/// Records that are on the disk only.
#[derive(Debug, Clone)]
pub(super) struct Gap {
    /// Where their numbers are; other numbers may be between.
    pub numbers: Range<u64>,
    pub records: u64,
    /// What the next record that is read back counts as, for the order: below all that is behind the gap.
    pub next_admission: u64,
    pub oldest_received_ns: Option<i64>,
}

#[derive(Debug)]
pub(super) struct TopicQueue {
    pub route: Arc<Route>,
    /// The route that is in force, by which also go the records that were admitted before, if they can.
    pub in_force: Option<Arc<Route>>,
    pub front: VecDeque<Entry>,
    /// How many of the front are done or leased: the first that waits is next.
    pub next: usize,
    pub gap: Option<Gap>,
    pub back: VecDeque<Entry>,
    /// Bytes of the records that wait in front and back.
    pub waiting_bytes: u64,
    /// Bytes of those that wait and are on the disk.
    pub on_disk_bytes: u64,
    /// Bytes of those that wait and are neither on the disk nor being written.
    pub unwritten_bytes: u64,
    /// Bytes of those that wait in the back.
    back_bytes: u64,
    /// The highest admission of what has ended under a number: nothing up to there goes into a gap.
    ended: u64,
    pub leased: u64,
    pub leased_bytes: u64,
    /// Records, waiting or leased, that are not on the disk yet, those that are being written among them.
    pub memory_only: u64,
    /// Bytes that it may send before another topic's turn; below 0 what it has sent ahead of its turns.
    pub credit: i64,
    /// It is in the lane's round.
    pub in_round: bool,
    /// Its place among those of the lane that linger.
    pub lingers_until: Option<Instant>,
    /// At the last lease nobody wanted it: what it has on the disk stays there.
    pub is_passed_over: bool,
    /// Above all numbers that it has had on the disk.
    pub numbered: u64,
    /// The number below which the ledger knows all of it as done, by its own entry there.
    pub recorded: u64,
}

impl TopicQueue {
    pub fn new(route: Arc<Route>) -> TopicQueue {
        TopicQueue {
            route,
            in_force: None,
            front: VecDeque::new(),
            next: 0,
            gap: None,
            back: VecDeque::new(),
            waiting_bytes: 0,
            on_disk_bytes: 0,
            unwritten_bytes: 0,
            back_bytes: 0,
            ended: 0,
            leased: 0,
            leased_bytes: 0,
            memory_only: 0,
            credit: 0,
            in_round: false,
            lingers_until: None,
            is_passed_over: false,
            numbered: 0,
            recorded: 0,
        }
    }

    /// The clocks have moved against each other: see [`Store::shift`](super::Store::shift).
    pub fn shift(&mut self, by: Shift) {
        for entry in self.front.iter_mut().chain(&mut self.back) {
            let earlier = |time: Instant| shifted(time, -by.suspended).unwrap_or(time);
            entry.admitted = entry.admitted.map(earlier);
            if let State::Waiting(record) | State::Leased(_, record) = &mut entry.state {
                record.expires = earlier(record.expires);
                record.received_ns = record.received_ns.saturating_add(by.set);
            }
        }
    }

    /// The route by which `record` is sent: the one that is in force, or else its own.
    ///
    /// For example, 8,000 records wait when `batch = { max = 50 }` comes with a reload. They go in batches of 50 from
    /// then on.
    pub fn sends_by<'a>(&'a self, record: &'a Record) -> &'a Arc<Route> {
        self.in_force.as_ref().filter(|newer| record.may_go_by(newer)).unwrap_or(&record.route)
    }

    /// The record that would be leased next.
    pub fn peek(&self) -> Option<&Record> {
        self.front.get(self.next)?.waiting()
    }

    /// Until when its next record waits for others, to travel with them; `None` if it does not.
    pub fn waits_for_others(&self) -> Option<Instant> {
        let ripens = self.front.get(self.next)?.ripens();
        ripens.filter(|_| self.gap.is_none() && !self.fills_a_batch())
    }

    fn fills_a_batch(&self) -> bool {
        let Some(record) = self.peek() else { return false };
        let most = record.route.packing.batch.map_or(1, |batch| batch.max as u64);
        let payloads = self.waiting_bytes.saturating_sub(self.waiting() * RECORD_OVERHEAD);
        self.waiting() >= most || payloads >= PAYLOAD_LIMIT as u64
    }

    /// Records that wait in memory.
    pub fn waiting(&self) -> u64 {
        (self.front.len() - self.next + self.back.len()) as u64
    }

    /// Bytes of the front.
    pub fn front_bytes(&self) -> u64 {
        self.waiting_bytes - self.back_bytes + self.leased_bytes
    }

    /// Puts a record behind all others, which is admitted at `now` as `admission`.
    pub fn push(&mut self, admission: u64, record: Record, now: Instant) {
        let (size, place) = (record.size(), Place::Memory);
        self.memory_only += 1;
        self.starts_waiting(size, place);
        if !Arc::ptr_eq(&self.route, &record.route) {
            self.route = record.route.clone();
        }
        let entry = Entry { admission, admitted: Some(now), place, state: State::Waiting(record) };
        if self.gap.is_some() {
            self.back_bytes += size;
            self.back.push_back(entry);
        } else {
            self.front.push_back(entry);
        }
    }

    /// It has nothing more to lease.
    pub fn leave_round(&mut self) {
        self.in_round = false;
        // Nobody saves credit for later.
        self.credit = self.credit.min(0);
    }

    /// Marks the next record as leased. Returns it and its admission.
    pub fn lease(&mut self, id: LeaseId) -> Option<(u64, Record)> {
        let entry = self.front.get_mut(self.next)?;
        let record = entry.waiting()?.clone();
        entry.state = State::Leased(id, record.clone());
        let (admission, place, size) = (entry.admission, entry.place, record.size());
        self.stops_waiting(size, place);
        self.next += 1;
        self.leased += 1;
        self.leased_bytes += size;
        Some((admission, record))
    }

    /// Ends the lease `id` of the records with these admissions. Returns them and where else they are.
    pub fn finish(&mut self, admissions: RangeInclusive<u64>, id: LeaseId) -> Vec<(Record, Place)> {
        let first = self.front.partition_point(|entry| entry.admission < *admissions.start());
        let mut finished = Vec::new();
        for entry in self.front.range_mut(first..).take_while(|entry| entry.admission <= *admissions.end()) {
            if !matches!(entry.state, State::Leased(lease, _) if lease == id) {
                continue;
            }
            let State::Leased(_, record) = std::mem::replace(&mut entry.state, State::Done) else { continue };
            self.leased -= 1;
            self.leased_bytes -= record.size();
            self.memory_only -= u64::from(!entry.place.is_durable());
            if entry.place.number().is_some() {
                self.ended = self.ended.max(entry.admission);
            }
            finished.push((record, entry.place));
        }
        while self.front.pop_front_if(|entry| matches!(entry.state, State::Done)).is_some() {
            self.next -= 1;
        }
        finished
    }

    /// Takes all leases back. Each record is shown to `taken_back`.
    pub fn requeue(&mut self, mut taken_back: impl FnMut(&Record)) {
        // What was finished out of order does not come again.
        self.front.retain(|entry| !matches!(entry.state, State::Done));
        for index in 0..self.front.len().min(self.next) {
            let Some(entry) = self.front.get_mut(index) else { break };
            if let State::Leased(_, record) = &entry.state {
                taken_back(record);
                let (record, place) = (record.clone(), entry.place);
                let size = record.size();
                entry.state = State::Waiting(record);
                self.starts_waiting(size, place);
            }
        }
        (self.next, self.leased, self.leased_bytes) = (0, 0, 0);
    }

    /// Takes the next record away, whose turn has not come.
    pub fn drop_next(&mut self) -> Option<Record> {
        self.peek()?;
        let entry = self.front.remove(self.next)?;
        self.note_end(entry.admission, entry.place);
        self.taken(entry)
    }

    /// Takes the next records away that have expired.
    pub fn drop_expired_head(&mut self, now: Instant, dropped: &mut Vec<Record>) {
        while self.peek().is_some_and(|record| record.expires <= now) {
            dropped.extend(self.drop_next());
        }
    }

    /// The admission of its oldest record, waiting or leased. Of what was read back from the disk, or is there, it is at most
    /// that.
    pub fn oldest_admission(&self) -> Option<u64> {
        let in_memory = |entries: &VecDeque<Entry>| {
            entries.iter().find(|entry| entry.record().is_some()).map(|entry| entry.admission)
        };
        let in_gap = || self.gap.as_ref().map(|gap| gap.next_admission);
        in_memory(&self.front).or_else(in_gap).or_else(|| in_memory(&self.back))
    }

    /// The record admitted as `admission` has ended.
    fn note_end(&mut self, admission: u64, place: Place) {
        if place.number().is_some() {
            self.ended = self.ended.max(admission);
        }
    }

    fn taken(&mut self, entry: Entry) -> Option<Record> {
        let State::Waiting(record) = entry.state else { return None };
        self.memory_only -= u64::from(!entry.place.is_durable());
        self.stops_waiting(record.size(), entry.place);
        Some(record)
    }

    fn starts_waiting(&mut self, bytes: u64, place: Place) {
        self.waiting_bytes += bytes;
        match place {
            Place::Disk(_) => self.on_disk_bytes += bytes,
            Place::Memory => self.unwritten_bytes += bytes,
            Place::Writing(_) => {}
        }
    }

    fn stops_waiting(&mut self, bytes: u64, place: Place) {
        self.waiting_bytes -= bytes;
        match place {
            Place::Disk(_) => self.on_disk_bytes -= bytes,
            Place::Memory => self.unwritten_bytes -= bytes,
            Place::Writing(_) => {}
        }
    }

    /// Bytes that could give way: what waits, but beside a gap only what is in memory alone, which is all behind it.
    /// What is being written may be on the disk next.
    pub fn may_give_way(&self) -> u64 {
        if self.gap.is_none() { self.waiting_bytes } else { self.unwritten_bytes }
    }

    /// Takes away the oldest record that may give way.
    pub fn give_way(&mut self) -> Option<Record> {
        if self.gap.is_none() {
            return self.drop_next();
        }
        let oldest = self.back.iter().position(|entry| entry.place == Place::Memory)?;
        let entry = self.back.remove(oldest)?;
        let record = self.taken(entry)?;
        self.back_bytes -= record.size();
        Some(record)
    }

    /// Takes the records away that have expired. What is on the disk too, or on its way there, goes in its turn.
    pub fn drop_expired(&mut self, now: Instant, dropped: &mut Vec<Record>) {
        // What is being written is dropped when that is done.
        while self.front.get(self.next).is_some_and(|entry| !matches!(entry.place, Place::Writing(_)))
            && self.peek().is_some_and(|record| record.expires <= now)
        {
            dropped.extend(self.drop_next());
        }
        dropped.extend(self.extract(|record, place| place == Place::Memory && record.expires <= now));
    }

    /// When the first of the records expires that [`drop_expired`](TopicQueue::drop_expired) would take away then.
    pub fn earliest_expiry(&self) -> Option<Instant> {
        let head = self.peek().map(|record| record.expires);
        let entries = self.front.iter().skip(self.next).chain(&self.back);
        let others = entries.filter(|entry| entry.place == Place::Memory);
        others.filter_map(|entry| Some(entry.waiting()?.expires)).chain(head).min()
    }

    /// Takes the waiting records away that are on the disk under these `numbers`, because they are there no more.
    pub fn drop_numbers(&mut self, numbers: &Range<u64>) -> Vec<Record> {
        self.extract(|_, place| place.number().is_some_and(|number| numbers.contains(&number)))
    }

    /// Takes all waiting records away that `gone` is true of.
    fn extract(&mut self, mut gone: impl FnMut(&Record, Place) -> bool) -> Vec<Record> {
        let mut extracted = Vec::new();
        for is_back in [false, true] {
            let queue = if is_back { &mut self.back } else { &mut self.front };
            let mut taken = Vec::new();
            queue.retain(|entry| {
                let Some(record) = entry.waiting().filter(|record| gone(record, entry.place)) else { return true };
                taken.push((record.clone(), entry.place));
                false
            });
            for (record, place) in taken {
                self.memory_only -= u64::from(!place.is_durable());
                self.stops_waiting(record.size(), place);
                self.back_bytes -= if is_back { record.size() } else { 0 };
                extracted.push(record);
            }
        }
        extracted
    }

    /// The entry that was admitted as `admission`, if it is there.
    pub fn entry(&self, admission: u64) -> Option<&Entry> {
        [&self.front, &self.back]
            .into_iter()
            .find_map(|queue| queue.get(queue.binary_search_by_key(&admission, |entry| entry.admission).ok()?))
    }

    fn entry_mut(&mut self, admission: u64) -> Option<&mut Entry> {
        for queue in [&mut self.front, &mut self.back] {
            if let Ok(index) = queue.binary_search_by_key(&admission, |entry| entry.admission) {
                return queue.get_mut(index);
            }
        }
        None
    }

    /// The record admitted as `admission` is being written under `number`. Returns it; `None` if it is done or has
    /// been written before.
    pub fn begin_write(&mut self, admission: u64, number: u64) -> Option<Record> {
        let entry = self.entry_mut(admission).filter(|entry| entry.place == Place::Memory)?;
        let record = entry.record()?.clone();
        entry.place = Place::Writing(number);
        self.unwritten_bytes -= if entry.waiting().is_some() { record.size() } else { 0 };
        self.numbered = self.numbered.max(number + 1);
        Some(record)
    }

    /// The record admitted as `admission`, which was being written, is on the disk, or not.
    pub fn end_write(&mut self, admission: u64, on_disk: bool) {
        let Some(entry) = self.entry_mut(admission) else { return };
        let Place::Writing(number) = entry.place else { return };
        entry.place = if on_disk { Place::Disk(number) } else { Place::Memory };
        let (is_left, waiting) = (entry.record().is_some(), entry.waiting().map_or(0, Record::size));
        if on_disk {
            self.memory_only -= u64::from(is_left);
            self.on_disk_bytes += waiting;
        } else {
            self.unwritten_bytes += waiting;
        }
    }

    /// What has the number `from` or a higher one is not on the disk any more. Returns how much was only there; of a
    /// gap that begins before, that is seen when it is read.
    pub fn forget(&mut self, from: u64) -> u64 {
        self.numbered = self.numbered.min(from);
        for entry in self.front.iter_mut().chain(&mut self.back) {
            if entry.place.number().is_none_or(|number| number < from) {
                continue;
            }
            let (is_left, waiting) = (entry.record().is_some(), entry.waiting().map_or(0, Record::size));
            if entry.place.is_durable() {
                self.memory_only += u64::from(is_left);
                self.on_disk_bytes -= waiting;
            }
            self.unwritten_bytes += waiting;
            entry.place = Place::Memory;
        }
        match &mut self.gap {
            Some(gap) if gap.numbers.start >= from => {
                gap.numbers.start = gap.numbers.end;
                self.read_up_to(0)
            }
            _ => 0,
        }
    }

    /// The admissions of the records that are in memory only.
    pub fn unwritten(&self) -> impl Iterator<Item = u64> {
        let entries = self.front.iter().chain(&self.back);
        entries.filter(|entry| entry.place == Place::Memory && entry.record().is_some()).map(|entry| entry.admission)
    }

    /// The first of the front that may go into a gap.
    fn loose(&self) -> usize {
        self.next.max(self.front.partition_point(|entry| entry.admission <= self.ended))
    }

    /// Whether [`evict`](TopicQueue::evict) could give anything free.
    pub fn has_evictable(&self) -> bool {
        match self.gap {
            None => self.on_disk_bytes > 0,
            Some(_) => self.back.front().is_some_and(|entry| entry.place.is_durable()),
        }
    }

    /// Bytes that [`evict`](TopicQueue::evict) could give free.
    pub fn evictable(&self) -> u64 {
        match self.gap {
            None => {
                let held = self.front.range(self.next..self.loose()).filter(|entry| entry.place.is_durable());
                let held: u64 = held.filter_map(|entry| Some(entry.waiting()?.size())).sum();
                self.on_disk_bytes - held
            }
            Some(_) => {
                let written = self.back.iter().take_while(|entry| entry.place.is_durable());
                written.filter_map(|entry| Some(entry.waiting()?.size())).sum()
            }
        }
    }

    /// Gives the memory of records free that wait and are on the disk, but for the first `keep` bytes. Returns how many
    /// bytes.
    pub fn evict(&mut self, keep: u64) -> u64 {
        if self.gap.is_none() && !self.open_gap(keep) {
            return 0;
        }
        let before = self.waiting_bytes;
        while let Some(gap) = &mut self.gap
            && let Some(entry) = self.back.pop_front_if(|entry| entry.place.is_durable())
        {
            gap.records += 1;
            gap.numbers.end = entry.place.number().map_or(gap.numbers.end, |number| number + 1);
            self.back_bytes -= self.taken(entry).map_or(0, |record| record.size());
        }
        before - self.waiting_bytes
    }

    /// Makes a gap of what is on the disk behind the first `keep` bytes that wait. Returns false if nothing is.
    fn open_gap(&mut self, keep: u64) -> bool {
        let (loose, mut kept) = (self.loose(), 0);
        let kept = self.front.range(loose..).take_while(|entry| {
            kept += entry.waiting().map_or(0, Record::size);
            kept <= keep
        });
        let first = loose + kept.count();
        let Some(Entry { place: Place::Disk(number), admission, .. }) = self.front.get(first) else { return false };
        let (number, next_admission) = (*number, *admission);
        self.back = self.front.split_off(first);
        self.back_bytes = self.back.iter().filter_map(|entry| Some(entry.waiting()?.size())).sum();
        let oldest_received_ns = self.back.front().and_then(Entry::waiting).map(|record| record.received_ns);
        self.gap = Some(Gap { numbers: number..number, records: 0, next_admission, oldest_received_ns });
        true
    }

    /// Puts what was read from the gap and waits back into it, because nobody wants it now. Returns how many bytes of
    /// memory that gives free.
    pub fn unread(&mut self) -> u64 {
        let (before, loose) = (self.waiting_bytes, self.loose());
        while self.front.len() > loose
            && let Some(gap) = &mut self.gap
            && let Some(Entry { place: Place::Disk(number), admission, .. }) = self.front.back()
        {
            gap.records += 1;
            (gap.numbers.start, gap.next_admission) = (*number, *admission);
            let entry = self.front.pop_back();
            let record = entry.and_then(|entry| self.taken(entry));
            if let (Some(gap), Some(record)) = (&mut self.gap, record) {
                gap.oldest_received_ns = Some(record.received_ns);
            }
        }
        before - self.waiting_bytes
    }

    /// `records` with these numbers were left on the disk by an earlier process, and perhaps more of them under
    /// another route that the topic has had. Nothing is leased.
    pub fn recover(&mut self, numbers: Range<u64>, records: u64, oldest_received_ns: Option<i64>) {
        self.numbered = self.numbered.max(numbers.end);
        if let Some(gap) = &mut self.gap {
            gap.numbers = gap.numbers.start.min(numbers.start)..gap.numbers.end.max(numbers.end);
            gap.records += records;
            return;
        }
        self.gap = Some(Gap { numbers, records, next_admission: 1, oldest_received_ns });
        self.back = std::mem::take(&mut self.front);
        self.back_bytes = self.waiting_bytes;
        // Nothing has had a number yet.
        self.ended = 0;
    }

    /// Puts in a record that was read from the gap.
    pub fn read_back(&mut self, number: u64, record: Record) {
        let Some(gap) = &mut self.gap else { return };
        let (admission, place) = (gap.next_admission, Place::Disk(number));
        gap.next_admission += 1;
        gap.records = gap.records.saturating_sub(1);
        gap.numbers.start = number + 1;
        gap.oldest_received_ns = Some(record.received_ns);
        self.starts_waiting(record.size(), place);
        self.front.push_back(Entry { admission, admitted: None, place, state: State::Waiting(record) });
    }

    /// The record of the gap with `number` was read and has expired.
    pub fn read_expired(&mut self, number: u64) {
        let Some(gap) = &mut self.gap else { return };
        gap.records = gap.records.saturating_sub(1);
        gap.numbers.start = number + 1;
        self.ended = gap.next_admission - 1;
    }

    /// Whether the gap holds `number`.
    pub fn misses(&self, number: u64) -> bool {
        self.gap.as_ref().is_some_and(|gap| gap.records > 0 && gap.numbers.contains(&number))
    }

    /// Whether all of the gap is at the number `start` or behind it.
    pub fn is_read_from(&self, start: u64) -> bool {
        self.gap.as_ref().is_some_and(|gap| gap.numbers.start >= start)
    }

    /// Up to `records` of the gap are given up. Returns how many.
    pub fn give_up(&mut self, records: u64) -> u64 {
        let Some(gap) = &mut self.gap else { return 0 };
        let given_up = records.min(gap.records);
        gap.records -= given_up;
        given_up
    }

    /// Nothing of the gap is left below `next`. If nothing is left at all, what is behind it comes to the front.
    /// Returns how many records should have been there and were not.
    pub fn read_up_to(&mut self, next: u64) -> u64 {
        let Some(gap) = &mut self.gap else { return 0 };
        gap.numbers.start = gap.numbers.start.max(next.min(gap.numbers.end));
        if gap.records > 0 && !gap.numbers.is_empty() {
            return 0;
        }
        let lost = gap.records;
        self.gap = None;
        self.front.append(&mut self.back);
        self.back_bytes = 0;
        lost
    }

    /// The lowest number that is not done, if one is on the disk or on its way there. The disk holds the oldest, so the
    /// first record tells.
    pub fn first_undone(&self) -> Option<u64> {
        if self.numbered == 0 {
            return None;
        }
        match self.front.iter().find(|entry| entry.record().is_some()) {
            Some(oldest) => oldest.place.number(),
            None => self.gap.as_ref().map(|gap| gap.numbers.start),
        }
    }

    /// The number below which all of it is done.
    pub fn done(&self) -> u64 {
        self.first_undone().unwrap_or(self.numbered)
    }
}

//! One lane: what waits in memory, and what waits on the disk between.
//!
//! ```text
//!   next to be leased                                          just admitted
//!   ┌───────────── front ─────────────┬──── gap ────┬──────── back ────────┐
//!   │ in memory; some on the disk too │ on the disk │ in memory            │
//!   └─────────────────────────────────┴─────────────┴──────────────────────┘
//! ```
//!
//! Without a gap, everything that waits is in the front.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::queue::{Record, Route};

/// A record in memory.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub record: Record,
    pub place: Place,
}

/// Where a record is, beside memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Memory,
    /// It is being written, under this number.
    Writing(u64),
    /// It is on the disk, under this number.
    Disk(u64),
}

impl Place {
    pub fn number(self) -> Option<u64> {
        match self {
            Place::Memory => None,
            Place::Writing(number) | Place::Disk(number) => Some(number),
        }
    }

    pub fn on_disk(self) -> Option<u64> {
        match self {
            Place::Disk(number) => Some(number),
            Place::Memory | Place::Writing(_) => None,
        }
    }
}

/// Records that are on the disk only.
#[derive(Debug)]
pub(super) struct Gap {
    /// Their numbers, perhaps with holes.
    pub numbers: Range<u64>,
    /// How many they are by route, which is told by its address.
    counts: HashMap<usize, (Arc<Route>, u64)>,
    pub oldest_received_ns: Option<i64>,
}

impl Gap {
    pub fn new(numbers: Range<u64>, oldest_received_ns: Option<i64>) -> Gap {
        Gap { numbers, counts: HashMap::new(), oldest_received_ns }
    }

    pub fn add(&mut self, route: &Arc<Route>, records: u64) {
        let key = Arc::as_ptr(route).addr();
        self.counts.entry(key).or_insert_with(|| (route.clone(), 0)).1 += records;
    }

    /// Takes up to `records` of `route` away. Answers how many there were to take.
    pub fn take(&mut self, route: &Arc<Route>, records: u64) -> u64 {
        let Some((_, count)) = self.counts.get_mut(&Arc::as_ptr(route).addr()) else { return 0 };
        let taken = records.min(*count);
        *count -= taken;
        taken
    }

    pub fn records(&self) -> u64 {
        self.counts.values().map(|(_, count)| count).sum()
    }

    pub fn into_counts(self) -> impl Iterator<Item = (Arc<Route>, u64)> {
        self.counts.into_values().filter(|(_, count)| *count > 0)
    }
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub front: VecDeque<Entry>,
    pub gap: Option<Gap>,
    pub back: VecDeque<Entry>,
    pub front_bytes: u64,
    pub back_bytes: u64,
    pub leased: u64,
    pub leased_bytes: u64,
    /// Records, waiting or leased, that are in memory only.
    pub memory_only: u64,
}

impl Lane {
    /// Records that wait in memory.
    pub fn waiting(&self) -> u64 {
        (self.front.len() + self.back.len()) as u64
    }

    pub fn waiting_bytes(&self) -> u64 {
        self.front_bytes + self.back_bytes
    }

    /// Puts a record behind all others.
    pub fn push_back(&mut self, entry: Entry) {
        self.memory_only += u64::from(entry.place == Place::Memory);
        if self.gap.is_some() {
            self.back_bytes += entry.record.size();
            self.back.push_back(entry);
        } else {
            self.front_bytes += entry.record.size();
            self.front.push_back(entry);
        }
    }

    /// Puts a record before all others.
    pub fn push_front(&mut self, entry: Entry) {
        self.memory_only += u64::from(entry.place == Place::Memory);
        self.front_bytes += entry.record.size();
        self.front.push_front(entry);
    }

    pub fn pop_front(&mut self) -> Option<Entry> {
        let entry = self.front.pop_front()?;
        self.front_bytes -= entry.record.size();
        self.memory_only -= u64::from(entry.place == Place::Memory);
        Some(entry)
    }

    /// Bytes that could give way: what waits, but not what is being written behind a gap, since it may be on the disk
    /// next.
    pub fn may_give_way(&self) -> u64 {
        match self.gap {
            None => self.front_bytes,
            Some(_) => {
                let writing = self.back.iter().take_while(|entry| entry.place != Place::Memory);
                self.back_bytes - writing.map(|entry| entry.record.size()).sum::<u64>()
            }
        }
    }

    /// Takes away the oldest record that may give way.
    pub fn give_way(&mut self) -> Option<Entry> {
        if self.gap.is_none() {
            return self.pop_front();
        }
        let oldest = self.back.iter().position(|entry| entry.place == Place::Memory)?;
        let entry = self.back.remove(oldest)?;
        self.back_bytes -= entry.record.size();
        self.memory_only -= 1;
        Some(entry)
    }

    /// Takes all waiting records away that `gone` is true of.
    pub fn extract(&mut self, mut gone: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let mut extracted = Vec::new();
        for (queue, bytes) in [(&mut self.front, &mut self.front_bytes), (&mut self.back, &mut self.back_bytes)] {
            queue.retain(|entry| {
                let gone = gone(entry);
                if gone {
                    *bytes -= entry.record.size();
                    extracted.push(entry.clone());
                }
                !gone
            });
        }
        self.memory_only -= extracted.iter().filter(|entry| entry.place == Place::Memory).count() as u64;
        extracted
    }

    /// Gives the memory of records free that are on the disk too: those behind a gap, and with `pressure` those in
    /// front of it but for the first `keep` bytes. Answers the bytes.
    pub fn evict(&mut self, keep: u64, pressure: bool) -> u64 {
        let before = self.waiting_bytes();
        if pressure && self.gap.is_none() {
            self.open_gap(keep);
        }
        while let Some(gap) = &mut self.gap
            && let Some(entry) = self.back.pop_front_if(|entry| entry.place.on_disk().is_some())
        {
            self.back_bytes -= entry.record.size();
            gap.add(&entry.record.route, 1);
            gap.numbers.end = entry.place.number().map_or(gap.numbers.end, |number| number + 1);
        }
        before - self.waiting_bytes()
    }

    /// Turns what is on the disk behind the first `keep` bytes into a gap.
    fn open_gap(&mut self, keep: u64) {
        let mut kept = 0;
        let first = self.front.iter().position(|entry| {
            kept += entry.record.size();
            kept > keep
        });
        let Some(first) = first else { return };
        let Some(number) = self.front.get(first).and_then(|entry| entry.place.on_disk()) else { return };
        self.back = self.front.split_off(first);
        self.back_bytes = self.back.iter().map(|entry| entry.record.size()).sum();
        self.front_bytes -= self.back_bytes;
        let oldest = self.back.front().map(|entry| entry.record.received_ns);
        self.gap = Some(Gap::new(number..number, oldest));
    }

    /// Nothing of the gap is left: what is behind it comes to the front.
    pub fn close_gap(&mut self) -> Option<Gap> {
        let gap = self.gap.take()?;
        self.front.append(&mut self.back);
        self.front_bytes += std::mem::take(&mut self.back_bytes);
        Some(gap)
    }
}

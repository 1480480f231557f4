//! The log forgets what nothing on the disk and nothing in the queue names any more.

use std::collections::HashSet;
use std::io;

use super::Log;
use crate::config::Priority;
use crate::queue::disk::LANES;
use crate::queue::disk::clock::Written;
use crate::queue::disk::format::{Header, Stream};
use crate::queue::disk::ledger::LaneEntry;
use crate::topics::TopicId;

impl Log {
    /// The queue has forgotten these topics: nothing of theirs is left, and the ledger says so.
    pub fn forget(&mut self, topics: impl IntoIterator<Item = (Priority, TopicId)>) {
        let topics: HashSet<_> = topics.into_iter().collect();
        if !topics.is_empty() {
            self.ids.forget(&topics);
            self.count_left();
            self.may_shrink = true;
        }
    }

    /// Counts what the ledger says of topics that the queue does not have.
    pub(super) fn count_left(&mut self) {
        let entries = LANES.into_iter().zip(&self.ledger.written().lanes);
        let left = |(lane, entry): (Priority, &LaneEntry)| {
            entry.topics.keys().filter(|id| self.ids.topic(**id, lane).is_none()).count()
        };
        self.left_in_ledger = entries.map(left).sum();
    }

    /// Takes the routes out of the file with all of them that nothing on the disk names any more, if those are most.
    /// While something on the disk can't be read, all of them stay: it may name any.
    pub fn tidy_routes(&mut self) -> io::Result<()> {
        if !self.may_shrink || self.is_unreadable || self.has_retired() {
            return Ok(());
        }
        self.may_shrink = false;
        self.count_left();
        if !self.routes.is_long() {
            return Ok(());
        }
        let mut named: HashSet<u32> = self
            .lanes
            .iter()
            .flat_map(|lane| &lane.segments)
            .flat_map(|segment| segment.routes.iter().copied())
            .collect();
        named.extend(self.ledger.written().lanes.iter().flat_map(|lane| lane.topics.keys()));
        let (written, queue_id) = (self.options.clock.written_now(), self.ledger.written().queue_id);
        let header = Header { stream: Stream::Routes, first: 0, queue_id, written: Written { offset: 0, ..written } };
        let room = self.options.bound.saturating_sub(self.bytes());
        let ids = &self.ids;
        self.routes.tidy(&*self.files, header, room, |id| named.contains(&id) || ids.knows(id))
    }

    /// How many routes are known by address, by id and by topic, and how many there are in all.
    #[cfg(test)]
    pub fn registers(&self) -> [usize; 4] {
        let [by_address, known, by_topic] = self.ids.sizes();
        [by_address, known, by_topic, self.routes.count()]
    }
}

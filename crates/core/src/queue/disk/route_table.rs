//! The routes of the records on the disk, by their ids.

use std::collections::{HashMap, HashSet};
use std::io;

use super::format::{HEADER_BYTES, Header, Mark, StoredRoute, Stream, put_route};
use super::ledger::LaneEntry;
use super::scan::{Item, Scan};
use super::segment::on_disk;
use crate::files::{File, Files};

/// The file with all routes. It has the form of a segment.
pub const ROUTES: &str = "routes";

/// What it is written to anew, until it takes its place. One that is found there is what a crash has left.
pub const NEW_ROUTES: &str = "routes.new";

/// At a start no shorter file is looked through: most of its routes are not named then and will be when records come
/// again, and each that is missing costs a sync of its own.
pub const LONG_AT_START: usize = 1024;

/// A shorter file is not worth looking through.
const LEAST_TIDY: usize = 64;

/// Every route that a record on the disk may name, and perhaps some that none names any more.
#[derive(Debug, Default)]
pub struct RouteTable {
    by_id: HashMap<u32, StoredRoute>,
    ids: HashMap<StoredRoute, u32>,
    next_id: u32,
    /// Open for appending, with its length; `None` before the first new route, and after an error.
    file: Option<(Box<dyn File>, u64)>,
    /// What the file has at most.
    bytes: u64,
}

/// Which queue the file with all routes is of, as its header says.
pub fn queue_id(files: &dyn Files) -> Option<u64> {
    let mut bytes = [0; HEADER_BYTES];
    let read = files.open(ROUTES).and_then(|file| file.read_at(0, &mut bytes)).ok()?;
    let header = (read == HEADER_BYTES).then(|| Header::decode(&bytes, Stream::Routes, 0))?.ok()?;
    (header.queue_id != 0).then_some(header.queue_id)
}

/// What a ledger says of a lane, by the names of the ROS topic and of the MQTT topic: a topic has another route after a
/// change of its configuration, which the ledger may not know yet.
#[derive(Debug, Default)]
pub struct DoneTopics(HashMap<(String, String), u64>);

impl DoneTopics {
    /// The route `id` is `route`, which `ledger` may know.
    pub fn learn(&mut self, ledger: &LaneEntry, id: u32, route: &StoredRoute) {
        if let Some(done) = ledger.topics.get(&id) {
            let known = self.0.entry((route.ros.clone(), route.mqtt.clone())).or_default();
            *known = (*known).max(*done);
        }
    }

    /// The number below which all records of the topic of `route` are done, as far as one of its routes says it.
    pub fn of(&self, route: &StoredRoute) -> u64 {
        self.0.get(&(route.ros.clone(), route.mqtt.clone())).copied().unwrap_or(0)
    }
}

impl RouteTable {
    pub fn get(&self, id: u32) -> Option<&StoredRoute> {
        self.by_id.get(&id)
    }

    /// What `ledger` says of each topic: the number below which all of its records are done.
    pub fn done_topics(&self, ledger: &LaneEntry) -> DoneTopics {
        let mut done = DoneTopics::default();
        let known = ledger.topics.keys().filter_map(|id| Some((*id, self.get(*id)?)));
        known.for_each(|(id, route)| done.learn(ledger, id, route));
        done
    }

    /// Learns a route from the disk.
    pub fn learn(&mut self, id: u32, route: StoredRoute) {
        self.next_id = self.next_id.max(id.saturating_add(1));
        self.ids.entry(route.clone()).or_insert(id);
        self.by_id.entry(id).or_insert(route);
    }

    /// Reads the file with all routes. Returns whether it was whole.
    pub fn read(&mut self, files: &dyn Files, queue_id: u64) -> io::Result<bool> {
        let file = match files.open(ROUTES) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        };
        let length = file.length()?;
        self.bytes = length;
        let mark = Mark::new(queue_id, Stream::Routes, 0);
        let mut scan = Scan::new(file, mark, HEADER_BYTES as u64, length);
        let mut whole = true;
        while let Some(item) = scan.advance()? {
            match item {
                Item::Route { id, route } => self.learn(id, route),
                Item::Record { .. } | Item::Damage { .. } => whole = false,
            }
        }
        Ok(whole)
    }

    /// The ids of `routes`. New ones are durable in the file with all routes before this returns: all of them by one write
    /// and one sync, so that the first records of thousands of topics do not wait for thousands of syncs.
    pub fn ids_of(&mut self, files: &dyn Files, header: Header, routes: &[StoredRoute]) -> io::Result<Vec<u32>> {
        let mut new: HashMap<&StoredRoute, u32> = HashMap::new();
        let mut frames = Vec::new();
        for route in routes.iter().filter(|route| !self.ids.contains_key(route)) {
            new.entry(route).or_insert_with(|| {
                let id = self.next_id;
                // After an error it may be in the file all the same, so no other route gets it.
                self.next_id = id.saturating_add(1);
                put_route(&mut frames, Mark::new(header.queue_id, Stream::Routes, 0), id, route);
                id
            });
        }
        if !new.is_empty() {
            let (mut file, length) = match self.file.take() {
                Some(open) => open,
                None => open_to_append(files, header)?,
            };
            self.bytes = self.bytes.max(length + frames.len() as u64);
            file.write_at(length, &frames)?;
            file.sync()?;
            self.file = Some((file, length + frames.len() as u64));
            new.into_iter().for_each(|(route, id)| self.learn(id, route.clone()));
        }
        // All of them are known now.
        Ok(routes.iter().filter_map(|route| self.ids.get(route).copied()).collect())
    }

    /// Whether it is worth looking for routes that nothing names any more.
    pub fn is_long(&self) -> bool {
        self.by_id.len() >= LEAST_TIDY
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Forgets the routes that are not `named`, in the file as well, if those are half of them or more and the file
    /// that takes the other's place has `room` beside it. After an error, or a crash at any moment, one of the two is
    /// there, whole.
    ///
    /// The last id stays, so that none is ever given again: what is left of a segment that was never finished may have
    /// it.
    pub fn tidy(
        &mut self,
        files: &dyn Files,
        header: Header,
        room: u64,
        named: impl Fn(u32) -> bool,
    ) -> io::Result<()> {
        let last = self.by_id.keys().max().copied();
        let stays = |id: u32| named(id) || Some(id) == last;
        let mut kept: Vec<_> = self.by_id.iter().filter(|(id, _)| stays(**id)).collect();
        kept.sort_unstable_by_key(|(id, _)| **id);
        let (mut content, mark) = (header.encode().to_vec(), Mark::new(header.queue_id, Stream::Routes, 0));
        kept.iter().for_each(|(id, route)| put_route(&mut content, mark, **id, route));
        if self.by_id.len() < 2 * kept.len() || on_disk(content.len() as u64) > room {
            return Ok(());
        }
        let kept: HashSet<u32> = kept.into_iter().map(|(id, _)| *id).collect();
        // Whatever comes of it, the file has to be opened anew.
        self.file = None;
        remove_new(files)?;
        if let Err(error) = write_new(files, &content).and_then(|()| files.rename(NEW_ROUTES, ROUTES)) {
            tracing::debug!("The file {ROUTES} stays as long as it is: {error}.");
            // The one there is is whole, so nothing is wrong with the queue. Nor does the other take room; if that
            // fails as well, the next try removes it.
            let _ = remove_new(files);
            return Ok(());
        }
        self.by_id.retain(|id, _| kept.contains(id));
        self.ids.retain(|_, id| kept.contains(id));
        self.by_id.shrink_to_fit();
        self.ids.shrink_to_fit();
        files.sync_directory("")?;
        self.bytes = content.len() as u64;
        Ok(())
    }

    /// Bytes of the file with all routes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn write_new(files: &dyn Files, content: &[u8]) -> io::Result<()> {
    let mut file = files.create(NEW_ROUTES)?;
    file.write_at(0, content)?;
    file.sync()
}

/// Removes what a crash may have left.
pub fn remove_new(files: &dyn Files) -> io::Result<()> {
    match files.remove(NEW_ROUTES) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_to_append(files: &dyn Files, header: Header) -> io::Result<(Box<dyn File>, u64)> {
    let mut file = match files.create(ROUTES) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => files.open_to_write(ROUTES)?,
        other => other?,
    };
    let length = file.length()?;
    if length >= HEADER_BYTES as u64 {
        return Ok((file, length));
    }
    file.write_at(0, &Header { stream: Stream::Routes, first: 0, ..header }.encode())?;
    file.sync()?;
    files.sync_directory("")?;
    Ok((file, HEADER_BYTES as u64))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustix::io::Errno;

    use super::*;
    use crate::config::Qos;
    use crate::files::simulated::{Fault, SimulatedFiles};
    use crate::queue::disk::clock::Clock;

    /// A route whose sync has failed may be in the file all the same: no other one gets its id.
    #[test]
    fn an_id_that_was_perhaps_written_is_given_to_no_other() {
        let files = SimulatedFiles::new();
        files.make_directory("").unwrap();
        let written = Clock::of_boot(1, Instant::now()).written_now();
        let header = Header { stream: Stream::Routes, first: 0, queue_id: 7, written };
        let route = |ros: &str| {
            let (ros, mqtt) = (ros.to_owned(), ros.to_owned());
            StoredRoute { ros, mqtt, qos: Qos::AtLeastOnce, retain: false, packing: Default::default() }
        };
        let mut table = RouteTable::default();
        let mut id_of = |ros: &str| table.ids_of(&files, header, &[route(ros)]).map(|ids| ids[0]);
        let first = id_of("/first").unwrap();
        // The write is the next operation, and its sync the one after that.
        files.fault_at(files.operations() + 1, Fault::Fail(Errno::IO));
        assert!(id_of("/second").is_err());
        let third = id_of("/third").unwrap();
        let mut read = RouteTable::default();
        assert!(read.read(&files, 7).unwrap());
        assert_eq!((read.get(first), read.get(third)), (Some(&route("/first")), Some(&route("/third"))));
    }
}

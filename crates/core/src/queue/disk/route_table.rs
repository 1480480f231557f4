//! The routes of the records on the disk, by their ids.

use std::collections::HashMap;
use std::io;

use super::format::{HEADER_BYTES, Header, Mark, StoredRoute, Stream, put_route};
use super::ledger::LaneEntry;
use super::scan::{Item, Scan};
use crate::files::{File, Files};

/// The file with all routes. It has the form of a segment.
pub const ROUTES: &str = "routes";

/// Every route that a record on the disk may name.
#[derive(Debug, Default)]
pub struct RouteTable {
    by_id: HashMap<u32, StoredRoute>,
    ids: HashMap<StoredRoute, u32>,
    next_id: u32,
    /// Open for appending, with its length; nothing before the first new route, and after an error.
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

impl RouteTable {
    pub fn get(&self, id: u32) -> Option<&StoredRoute> {
        self.by_id.get(&id)
    }

    /// The number below which all records of the topic of the route `id` are done, by what `ledger` says of any of the
    /// topic's routes: the ledger may not know yet the one that it has since its configuration has changed.
    pub fn done_of(&self, ledger: &LaneEntry, id: u32) -> u64 {
        let topic = |id| self.get(id).map(|route| (&route.ros, &route.mqtt));
        let own = topic(id);
        let others = ledger.topics.iter().filter(|(other, _)| own.is_some() && topic(**other) == own);
        others.map(|(_, done)| *done).max().unwrap_or(0).max(ledger.done_of(id))
    }

    /// Learns a route from the disk.
    pub fn learn(&mut self, id: u32, route: StoredRoute) {
        self.next_id = self.next_id.max(id.saturating_add(1));
        self.ids.entry(route.clone()).or_insert(id);
        self.by_id.entry(id).or_insert(route);
    }

    /// Reads the file with all routes. Answers whether it was whole.
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

    /// The id of `route`. A new route is durable in the file with all routes before this answers.
    pub fn id_of(&mut self, files: &dyn Files, header: Header, route: &StoredRoute) -> io::Result<u32> {
        if let Some(&id) = self.ids.get(route) {
            return Ok(id);
        }
        let id = self.next_id;
        let mut frame = Vec::new();
        let (mut file, length) = match self.file.take() {
            Some(open) => open,
            None => open_to_append(files, header)?,
        };
        put_route(&mut frame, Mark::new(header.queue_id, Stream::Routes, 0), id, route);
        self.bytes = self.bytes.max(length + frame.len() as u64);
        file.write_at(length, &frame)?;
        file.sync()?;
        self.file = Some((file, length + frame.len() as u64));
        self.learn(id, route.clone());
        Ok(id)
    }

    /// Bytes of the file with all routes.
    pub fn bytes(&self) -> u64 {
        self.bytes
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

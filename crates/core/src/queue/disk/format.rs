//! What stands in a segment file, byte by byte. All numbers are little endian.
//!
//! ```text
//!  segment   ┌────────┬───────┬───────┬───────┬──
//!            │ header │ frame │ frame │ frame │ …       name: <lane>/<first number, 20 digits>.seg
//!            └────────┴───────┴───────┴───────┴──
//!
//!  header    magic "iotbrseg" · version u16 · lane u8 · clock u8 · first number u64 · queue id u64
//!  (64)      · boot id 16 · clock offset i64 · 0 × 8 · CRC-32C u32 of all before
//!
//!  frame     mark u32 · length of body u32 · CRC-32C u32 of mark, length and body · body
//!
//!  body      1 · id u32 · flags u8 · content u8 · records a publish u32 · compressed over u32
//!            · length of ROS topic u16 · ROS topic · MQTT topic                              a route
//!            2 · route id u32 · number u32 · received i64 · expires i64 · payload            a record
//! ```
//!
//! - The header's length and the places of magic, version and checksum stay the same in all versions.
//! - The *mark* is the same in all frames of a segment and differs from segment to segment: it is made of the queue's
//!   id, the lane and the first number. It is what a reader looks for behind damage. As it goes into the checksum,
//!   neither stale blocks of another segment nor a payload that holds a copy of a segment is taken for a record.
//! - A record's *number* counts the records of its lane, without an end; in the frame it is relative to the first
//!   number of the segment. Numbers rise within a segment.
//! - A *route* is what the records of a topic have in common. It is written before the first record that needs it in
//!   each segment, and once in the file `routes`, so that damage to either costs nothing. Ids are never used again for
//!   another route: the file `routes` may lose those that nothing names any more, but keeps the highest. Its *flags*
//!   are: 1 QoS 1, 2 retain, 4 records are JSON values that travel in arrays, 8 payloads are compressed with gzip, 16
//!   with zstd, 32 they are compressed already, 64 what is compressed goes to a topic of its own. Its *content* is 0
//!   for JSON, 1 for text, 2 for CDR, 3 for replies, whose payloads begin with correlation data (see
//!   [`Correlated`](crate::packing::Correlated)) and have none of the flags from 4 on.
//! - *received* and *expires* are nanoseconds since 1970. The *clock offset* is what has to be taken from *expires* for
//!   the time of the kernel's *clock* in the boot that *boot id* names: 0 is `CLOCK_MONOTONIC`, 1 `CLOCK_BOOTTIME`. A
//!   *boot id* of zeros names no boot: then only the time of day says how old a record is.

use std::time::Duration;

use bytes::{BufMut, Bytes};

use super::clock::{Counted, Written};
use crate::config::{Encoding, Priority, Qos};
use crate::packing::{Batch, Compression, Content, Packing, When};
use crate::queue::Route;

/// Bytes of a segment's header.
pub const HEADER_BYTES: usize = 64;

/// Bytes of a frame before its body.
pub const FRAME_BYTES: usize = 12;

/// Bytes of a record's body before its payload.
const RECORD_BYTES: usize = 25;

/// Bytes of a route's body before its names.
const ROUTE_BYTES: usize = 17;

/// The shortest body.
const LEAST_BODY: usize = if RECORD_BYTES < ROUTE_BYTES { RECORD_BYTES } else { ROUTE_BYTES };

/// What a record takes on the disk beside its payload.
pub const RECORD_OVERHEAD_ON_DISK: usize = FRAME_BYTES + RECORD_BYTES;

/// Longest body that is believed: more than any payload that AWS IoT Core takes, small enough for any robot's memory.
pub const LONGEST_BODY: usize = 1 << 20;

/// Neither a record nor anything else that is counted comes to this number, in a hundred thousand years of a million a
/// second: what says it does was not written by the queue.
pub const NO_NUMBER: u64 = 1 << 63;

/// The only version so far. Another one is not read, but set aside.
///
/// A new content is no new version: what a bridge from before it finds of such a route, it takes for damage and passes over,
/// with the records that name it, and it reads everything else.
pub const VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"iotbrseg";
const KIND_ROUTE: u8 = 1;
const KIND_RECORD: u8 = 2;
const FLAG_QOS_1: u8 = 1;
const FLAG_RETAIN: u8 = 2;
const FLAG_BATCHES: u8 = 4;
const FLAG_GZIP: u8 = 8;
const FLAG_ZSTD: u8 = 16;
const FLAG_AHEAD: u8 = 32;
const FLAG_SUFFIX: u8 = 64;

/// The lane of a segment; the file `routes` has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    Lane(Priority),
    Routes,
}

impl Stream {
    fn code(self) -> u8 {
        match self {
            Stream::Lane(priority) => priority as u8,
            Stream::Routes => 255,
        }
    }
}

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub stream: Stream,
    pub first: u64,
    pub queue_id: u64,
    /// With which clocks it was begun.
    pub written: Written,
}

/// Why a header is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    #[error("it is not a segment of the queue")]
    Foreign,
    #[error("it was written by a version of the bridge that this one does not know (format {0})")]
    UnknownVersion(u16),
    #[error("its header is damaged")]
    Damaged,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut rest = &mut bytes[..];
        rest.put_slice(MAGIC);
        rest.put_u16_le(VERSION);
        rest.put_u8(self.stream.code());
        rest.put_u8(self.written.counted as u8);
        rest.put_u64_le(self.first);
        rest.put_u64_le(self.queue_id);
        rest.put_slice(&self.written.boot_id);
        rest.put_i64_le(self.written.offset);
        let crc = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of a segment that should be the one of `stream` from number `first` on.
    pub fn decode(bytes: &[u8; HEADER_BYTES], stream: Stream, first: u64) -> Result<Header, HeaderFault> {
        let whole = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]) == u32_at(bytes, HEADER_BYTES - 4);
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        match (bytes.starts_with(MAGIC), whole) {
            (true, true) if version != VERSION => return Err(HeaderFault::UnknownVersion(version)),
            (true, true) => {}
            (true, false) => return Err(HeaderFault::Damaged),
            (false, _) => return Err(HeaderFault::Foreign),
        }
        let mut boot_id = [0; 16];
        boot_id.copy_from_slice(&bytes[28..44]);
        let counted = match bytes[11] {
            0 => Counted::Monotonic,
            1 => Counted::Boottime,
            _ => {
                // By a clock that is not known, as in a boot that is not known.
                boot_id = [0; 16];
                Counted::Boottime
            }
        };
        let header = Header {
            stream,
            first: u64_at(bytes, 12),
            queue_id: u64_at(bytes, 20),
            written: Written { boot_id, counted, offset: u64_at(bytes, 44) as i64 },
        };
        // A file under another name than its own.
        if bytes[10] != stream.code() || header.first != first {
            return Err(HeaderFault::Foreign);
        }
        Ok(header)
    }
}

/// What the frames of a segment begin with. Never zeros only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark([u8; 4]);

impl Mark {
    pub fn new(queue_id: u64, stream: Stream, first: u64) -> Mark {
        let mut seed = [0; 17];
        seed[..8].copy_from_slice(&queue_id.to_le_bytes());
        seed[8..16].copy_from_slice(&first.to_le_bytes());
        seed[16] = stream.code();
        Mark((crc32c::crc32c(&seed) | 0x8000_0080).to_le_bytes())
    }

    pub fn bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

/// A route as it stands on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredRoute {
    pub ros: String,
    pub mqtt: String,
    pub qos: Qos,
    pub retain: bool,
    /// What has been on the disk has waited long enough: without linger.
    pub packing: Packing,
}

impl StoredRoute {
    /// `route` as it stands on the disk. How long records wait for others is not there: those that are read back have
    /// waited.
    pub fn of(route: &Route) -> StoredRoute {
        let mut packing = route.packing.clone();
        if let Some(batch) = &mut packing.batch {
            batch.linger = Duration::ZERO;
        }
        StoredRoute { ros: route.ros.clone(), mqtt: route.mqtt.clone(), qos: route.qos, retain: route.retain, packing }
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let compression = self.packing.compression.as_ref();
        let encoding = match compression.map(|compression| compression.encoding) {
            None => 0,
            Some(Encoding::Gzip) => FLAG_GZIP,
            Some(Encoding::Zstd) => FLAG_ZSTD,
        };
        flag(self.qos == Qos::AtLeastOnce, FLAG_QOS_1)
            | flag(self.retain, FLAG_RETAIN)
            | flag(self.packing.batch.is_some(), FLAG_BATCHES)
            | encoding
            | flag(compression.is_some_and(|compression| compression.when == When::Ahead), FLAG_AHEAD)
            | flag(compression.is_some_and(|compression| compression.topic.is_some()), FLAG_SUFFIX)
    }
}

/// The packing that [`put_route`] has written.
fn packing(flags: u8, content: Content, max: u32, over: u32, mqtt: &str) -> Packing {
    let has = |flag: u8| flags & flag != 0;
    let encoding = match () {
        () if has(FLAG_GZIP) => Some(Encoding::Gzip),
        () if has(FLAG_ZSTD) => Some(Encoding::Zstd),
        () => None,
    };
    let when = if has(FLAG_AHEAD) { When::Ahead } else { When::Over(over) };
    let batch = Batch { max: max.max(1) as usize, linger: Duration::ZERO };
    if content == Content::Reply {
        return Packing::of_replies();
    }
    Packing {
        content,
        batch: has(FLAG_BATCHES).then_some(batch),
        compression: encoding.map(|encoding| Compression::new(encoding, when, has(FLAG_SUFFIX), mqtt)),
    }
}

fn content(code: u8) -> Option<Content> {
    Some(match code {
        0 => Content::Json,
        1 => Content::Text,
        2 => Content::Cdr,
        3 => Content::Reply,
        _ => return None,
    })
}

/// A record as it stands on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord<P> {
    pub route: u32,
    /// Relative to the first number of its segment.
    pub number: u32,
    pub received_ns: i64,
    pub expires_ns: i64,
    pub payload: P,
}

/// What is in a whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    Route { id: u32, route: StoredRoute },
    Record(StoredRecord<&'a [u8]>),
}

/// Bytes of the frame of a record with a payload of `payload` bytes.
pub fn record_bytes(payload: usize) -> usize {
    RECORD_OVERHEAD_ON_DISK + payload
}

/// Appends the frame of `record` to `out`.
pub fn put_record(out: &mut Vec<u8>, mark: Mark, record: &StoredRecord<Bytes>) {
    put_frame(out, mark, |out| {
        out.put_u8(KIND_RECORD);
        out.put_u32_le(record.route);
        out.put_u32_le(record.number);
        out.put_i64_le(record.received_ns);
        out.put_i64_le(record.expires_ns);
        out.put_slice(&record.payload);
    });
}

/// Appends the frame of `route` to `out`.
pub fn put_route(out: &mut Vec<u8>, mark: Mark, id: u32, route: &StoredRoute) {
    put_frame(out, mark, |out| {
        out.put_u8(KIND_ROUTE);
        out.put_u32_le(id);
        out.put_u8(route.flags());
        out.put_u8(match route.packing.content {
            Content::Json => 0,
            Content::Text => 1,
            Content::Cdr => 2,
            Content::Reply => 3,
        });
        out.put_u32_le(route.packing.batch.map_or(0, |batch| u32::try_from(batch.max).unwrap_or(u32::MAX)));
        out.put_u32_le(match route.packing.compression {
            Some(Compression { when: When::Over(over), .. }) => over,
            _ => 0,
        });
        // Names of ROS topics and MQTT topics have at most some hundred bytes.
        let ros = &route.ros.as_bytes()[..route.ros.len().min(usize::from(u16::MAX))];
        out.put_u16_le(ros.len() as u16);
        out.put_slice(ros);
        out.put_slice(route.mqtt.as_bytes());
    });
}

fn put_frame(out: &mut Vec<u8>, mark: Mark, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_slice(mark.bytes());
    out.put_u64_le(0);
    body(out);
    let length = (out.len() - start - FRAME_BYTES) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(&out[start..]);
    out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..8]), &frame[FRAME_BYTES..])
}

/// What is at some place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A whole frame, and how many bytes it takes.
    Whole(Body<'a>, usize),
    /// The beginning of what may be a frame of this many bytes.
    Incomplete(usize),
    /// No frame.
    Nothing,
}

/// Parses the frame with `mark` at the beginning of `bytes`.
pub fn parse(bytes: &[u8], mark: Mark) -> Parsed<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<FRAME_BYTES>() else {
        let known = bytes.len().min(4);
        return if bytes[..known] == mark.bytes()[..known] { Parsed::Incomplete(FRAME_BYTES) } else { Parsed::Nothing };
    };
    let length = u32_at(head, 4) as usize;
    if !head.starts_with(mark.bytes()) || !(LEAST_BODY..=LONGEST_BODY).contains(&length) {
        return Parsed::Nothing;
    }
    let Some(body) = rest.get(..length) else { return Parsed::Incomplete(FRAME_BYTES + length) };
    if checksum(&bytes[..FRAME_BYTES + length]) != u32_at(head, 8) {
        return Parsed::Nothing;
    }
    decode_body(body).map_or(Parsed::Nothing, |body| Parsed::Whole(body, FRAME_BYTES + length))
}

fn decode_body(body: &[u8]) -> Option<Body<'_>> {
    match *body.first()? {
        KIND_RECORD => {
            let (head, payload) = body.split_first_chunk::<RECORD_BYTES>()?;
            Some(Body::Record(StoredRecord {
                route: u32_at(head, 1),
                number: u32_at(head, 5),
                received_ns: u64_at(head, 9) as i64,
                expires_ns: u64_at(head, 17) as i64,
                payload,
            }))
        }
        KIND_ROUTE => {
            let (head, names) = body.split_first_chunk::<ROUTE_BYTES>()?;
            let (ros, mqtt) = names.split_at_checked(usize::from(u16::from_le_bytes([head[15], head[16]])))?;
            let mqtt = std::str::from_utf8(mqtt).ok()?;
            let route = StoredRoute {
                ros: std::str::from_utf8(ros).ok()?.to_owned(),
                mqtt: mqtt.to_owned(),
                packing: packing(head[5], content(head[6])?, u32_at(head, 7), u32_at(head, 11), mqtt),
                qos: if head[5] & FLAG_QOS_1 == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce },
                retain: head[5] & FLAG_RETAIN != 0,
            };
            Some(Body::Route { id: u32_at(head, 1), route })
        }
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Stream = Stream::Lane(Priority::Normal);

    fn header() -> Header {
        Header {
            stream: STREAM,
            first: 7,
            queue_id: 99,
            written: Written { boot_id: [5; 16], counted: Counted::Boottime, offset: -3 },
        }
    }

    fn record(payload: &'static [u8]) -> StoredRecord<Bytes> {
        StoredRecord { route: 3, number: 4, received_ns: -5, expires_ns: 6, payload: Bytes::from_static(payload) }
    }

    /// What is written is read back, headers, routes and records.
    #[test]
    fn reads_what_it_wrote() {
        assert_eq!(Header::decode(&header().encode(), STREAM, 7), Ok(header()));
        let mark = Mark::new(99, STREAM, 7);
        let route = StoredRoute {
            ros: "/ödom".into(),
            mqtt: "a/b".into(),
            qos: Qos::AtLeastOnce,
            retain: true,
            packing: Packing::default(),
        };
        let mut bytes = Vec::new();
        put_route(&mut bytes, mark, 3, &route);
        let route_bytes = bytes.len();
        put_record(&mut bytes, mark, &record(b"payload"));
        assert_eq!(bytes.len() - route_bytes, record_bytes(7));
        assert_eq!(parse(&bytes, mark), Parsed::Whole(Body::Route { id: 3, route }, route_bytes));
        let Parsed::Whole(Body::Record(read), _) = parse(&bytes[route_bytes..], mark) else { panic!("no record") };
        assert_eq!((read.route, read.number, read.received_ns, read.expires_ns), (3, 4, -5, 6));
        assert_eq!(read.payload, b"payload");
    }

    /// A route says after a restart as before whether its records travel together, and how they are compressed.
    #[test]
    fn a_route_keeps_its_packing() {
        let (mark, batch) = (Mark::new(99, STREAM, 7), Batch { max: 50, linger: Duration::ZERO });
        for batch in [None, Some(batch), Some(Batch { max: 1, ..batch })] {
            let compressions = [Encoding::Gzip, Encoding::Zstd].into_iter().flat_map(|encoding| {
                let whens = [When::Over(0), When::Over(1 << 20), When::Ahead].into_iter();
                whens.flat_map(move |when| [false, true].map(|suffix| Compression::new(encoding, when, suffix, "a/b")))
            });
            for compression in std::iter::once(None).chain(compressions.map(Some)) {
                let content = if batch.is_some() { Content::Json } else { Content::Cdr };
                comes_back(mark, Packing { content, batch, compression });
            }
        }
        comes_back(mark, Packing { content: Content::Text, ..Packing::default() });
        comes_back(mark, Packing::of_replies());
    }

    fn comes_back(mark: Mark, packing: Packing) {
        let (ros, mqtt, qos) = ("/odom".to_owned(), "a/b".to_owned(), Qos::AtMostOnce);
        let route = StoredRoute { ros, mqtt, qos, retain: false, packing };
        let mut bytes = Vec::new();
        put_route(&mut bytes, mark, 3, &route);
        assert_eq!(parse(&bytes, mark), Parsed::Whole(Body::Route { id: 3, route }, bytes.len()));
    }

    /// What a bridge from before replies has written is read: a route of batches in gzip, byte by byte.
    #[test]
    fn what_older_bridges_have_written_is_read() {
        let mark = Mark::new(99, STREAM, 7);
        let body = b"\x01\x03\0\0\0\x0d\0\x32\0\0\0\0\x04\0\0\x05\0/odoma/b";
        let mut bytes = Vec::new();
        put_frame(&mut bytes, mark, |out| out.put_slice(body));
        let batch = Some(Batch { max: 50, linger: Duration::ZERO });
        let compression = Some(Compression::new(Encoding::Gzip, When::Over(1024), false, "a/b"));
        let packing = Packing { content: Content::Json, batch, compression };
        let (ros, mqtt) = ("/odom".to_owned(), "a/b".to_owned());
        let route = StoredRoute { ros, mqtt, qos: Qos::AtLeastOnce, retain: false, packing };
        let mut written = Vec::new();
        put_route(&mut written, mark, 3, &route);
        assert_eq!(written, bytes, "and written as it was");
        assert_eq!(parse(&bytes, mark), Parsed::Whole(Body::Route { id: 3, route }, bytes.len()));
    }

    /// No frame is taken for whole when a bit of it is flipped, when it is cut off, or in another segment.
    #[test]
    fn a_damaged_frame_is_none() {
        let mark = Mark::new(99, STREAM, 7);
        let mut bytes = Vec::new();
        put_record(&mut bytes, mark, &record(b"some payload"));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(parse(&damaged, mark), Parsed::Whole(..)), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(matches!(parse(&bytes[..length], mark), Parsed::Incomplete(_)), "length {length}");
        }
        assert_eq!(parse(&bytes, Mark::new(99, STREAM, 8)), Parsed::Nothing);
        assert_eq!(parse(&[0; 100], mark), Parsed::Nothing);
    }

    /// A header says what is wrong with it.
    #[test]
    fn a_wrong_header_has_a_name() {
        let good = header().encode();
        let mut newer = good;
        newer[8] = 2;
        let crc = crc32c::crc32c(&newer[..HEADER_BYTES - 4]).to_le_bytes();
        newer[HEADER_BYTES - 4..].copy_from_slice(&crc);
        assert_eq!(Header::decode(&newer, STREAM, 7), Err(HeaderFault::UnknownVersion(2)));
        let mut damaged = good;
        damaged[30] ^= 1;
        assert_eq!(Header::decode(&damaged, STREAM, 7), Err(HeaderFault::Damaged));
        assert_eq!(Header::decode(&[0; HEADER_BYTES], STREAM, 7), Err(HeaderFault::Foreign));
        assert_eq!(Header::decode(&good, STREAM, 8), Err(HeaderFault::Foreign));
        assert_eq!(Header::decode(&good, Stream::Lane(Priority::Low), 7), Err(HeaderFault::Foreign));
    }
}

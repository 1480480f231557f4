//! The queue's place on the disk: an append-only log of its own, because the queue is a FIFO and flash wears out.
//!
//! ```text
//!  <directory>/                mode 0700, files 0600
//!    lock                      held by the process that has the directory
//!    ledger                    what is done, and from where sequence numbers start              ledger
//!    routes                    the topics of all records, by number                             route_table
//!    routes.new                the same, written anew, for a moment
//!    high/, normal/, low/      a lane each
//!      00000000000000000000.seg    segments: read through once, deleted whole                   segment, format
//!      00000000000000052173.seg
//!    quarantine/               what can't be read                                               quarantine
//! ```
//!
//! Who does what: [`log`] is all of it, for the disk worker. [`scan`] walks through a segment, over damage; [`survey`]
//! looks at a whole directory when the process starts; [`finding`] says what is wrong with it; [`purge`] empties one
//! that no process works with; [`clock`] knows when a record expires after a restart; [`files`](crate::files) is the
//! one way to the file system, so that tests inject faults.
//!
//! **What is written when.** With `spill` nothing, as long as the link keeps up. While the link is down, and when
//! memory runs short (three quarters are taken), what is in memory is written, oldest first, in groups a second apart
//! or a mebibyte large, and all of it when the process stops. With `always` each record is, in groups `queue.sync`
//! apart, unless it is acknowledged before its turn comes. A group is one write and one sync; a record counts as
//! durable once that has answered. What is on the disk stays in memory too as long as there is room, so a short outage
//! reads nothing back.
//!
//! **What holds.**
//!
//! - Records of a lane are numbered as they are written, and the disk always holds the oldest ones of a lane: so the
//!   numbers are the order, and one number for each topic, *done*, says what is finished. What was acknowledged beyond
//!   it comes again after a restart. With `always` no more than the uplink's window may be in flight or acknowledged
//!   beyond it, as long as the disk works; with `spill` it is a second behind at most.
//! - A segment is deleted after the ledger that says that it is done is durable, never before.
//! - A file's name is made durable with its first records, before they count as durable.
//! - After a write or a sync that failed nothing more is appended to that file: nothing is known of its end. What was
//!   being written stays in memory and gets the same numbers in the next segment; a record with a number that the next
//!   segment begins with, or a higher one, is not read.
//! - All files together, those that wait to be deleted and those in quarantine included, take no more than
//!   `queue.disk`, in blocks of 4 KiB. Room is made before something is written: with `drop-oldest` by giving up the
//!   oldest segment of the lowest lane, but none of a higher priority than what is to be written and none with a record
//!   in flight. The ledger says so before the segment goes.
//! - The file with all routes is written anew when most of its routes are named by nothing, under another name first,
//!   and takes the old one's place when it is durable. Segments hold their routes themselves, so neither is needed to
//!   read them.
//! - A file of a lane with damage in it is set aside in `quarantine`, not deleted, once its other records are done. The
//!   quarantine takes a sixteenth of `queue.disk`; beyond that its oldest file goes, which is said.
//!
//! **After a start.** Every segment that is not done is read and checked. A torn tail, what a power cut leaves of the
//! last write, is cut off; what the device does not give is none, and is kept. A file without any record counts as
//! none. Behind damage the next whole record is looked for. What is wrong is said with its file and place, and nothing
//! of it keeps the bridge from starting. A directory that can't be used at all, or with a file that may not be opened,
//! leaves the queue in memory, and is tried again every few seconds. So is a disk that fails later.
//!
//! **While it runs** somebody may take the directory away, or a file in it, or mount another disk in its place. Each
//! turn of the disk worker looks whether the lock, the ledger and the segments that are written to are still what their
//! names lead to. If not, or if a file that is to be read is not there, all is closed and a few seconds later the
//! directory is taken over as at a start, made anew if need be. If it is the same queue's, what is missing at the end
//! of a lane is written again from memory; if it is another's, or new, everything is. What was on the disk only and is
//! not there any more is counted as lost. Records that another process has left there are sent first, so such a
//! directory is taken once nothing is in flight.

pub mod clock;
pub mod finding;
pub mod format;
pub mod ledger;
pub mod log;
pub mod purge;
pub mod quarantine;
pub mod reader;
mod route_ids;
pub mod route_table;
pub mod scan;
pub mod segment;
pub mod survey;

use crate::config::Priority;

pub use quarantine::QUARANTINE;

/// All lanes, the first to be sent first.
pub const LANES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// The file by which one process at a time has the directory.
pub const LOCK: &str = "lock";

//! Moves records between memory and the disk, on a thread of its own: nobody else waits for the disk.
//!
//! ```text
//!   turn:  read what will be sent next ► write what should be durable ► read ► ledger, deletions ► sleep
//! ```
//!
//! Each step takes what it needs from the store under the queue's lock, works on the disk without it, and puts the
//! result back under the lock. When the disk fails, the turn ends: what was being written stays in memory, the trouble
//! is said once, and the next try comes some seconds later.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::disk::LANES;
use super::disk::ledger::Entry;
use super::disk::log::{Log, Options};
use super::disk::segment::Segment;
use super::disk::survey::{Stopped, Watch, go_on};
use super::figures::DiskFigures;
use super::shared::{Shared, Sleep};
use super::store::{Done, Gone};
use crate::config::{Overflow, Priority};
use crate::files::Files;
use crate::tally::{DropReason, counted};

/// Most bytes that are written at a time.
const BATCH: u64 = 1 << 20;

/// How long the disk worker sleeps when nobody wakes it.
const NAP: Duration = Duration::from_millis(500);

/// How long what is done may be unknown to the disk, where nothing waits for it.
const LEDGER_LAG: Duration = Duration::from_secs(1);

/// Wait before the disk is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How often it is looked whether whole segments have expired.
const EXPIRY_LOOK: Duration = Duration::from_secs(5);

/// Numbers of a topic that are set apart at a time.
const SEQUENCE_RESERVE: u64 = 1 << 28;

/// How often the next numbers are set apart. At ten thousand messages a second of a topic, half of the reserve.
const SEQUENCE_PERIOD: Duration = Duration::from_secs(3 * 3600);

/// How records get to the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub overflow: Overflow,
    /// How long a record may be in memory only, once it should be on the disk.
    pub sync: Duration,
}

pub(super) struct DiskWorker {
    shared: Arc<Shared>,
    files: Arc<dyn Files>,
    options: Options,
    policy: Policy,
    /// Where the files are, for sentences.
    directory: PathBuf,
    /// `None` until the directory could be taken over.
    log: Option<Log>,
    /// How often that was.
    openings: u64,
    /// What is known of the directory that was taken over last.
    taken_over: Option<TakenOver>,
    trouble: Option<Trouble>,
    committed: Instant,
    /// What [`Store::finished`](super::store::Store::finished) said before it was last looked what is done.
    finished: u64,
    looked_for_expiry: Instant,
    reserved_sequence: Instant,
}

/// The store has the numbers of this queue.
#[derive(Debug, Clone, Copy)]
struct TakenOver {
    queue_id: u64,
    /// No sequence number at or above it was given.
    ceiling: u64,
    /// The next number of each lane.
    next: [u64; 3],
}

struct Trouble {
    text: String,
    since: Instant,
    retry: Instant,
}

impl DiskWorker {
    /// `directory` is where `files` are, for sentences.
    pub fn new(
        shared: Arc<Shared>,
        files: Arc<dyn Files>,
        options: Options,
        policy: Policy,
        directory: PathBuf,
    ) -> DiskWorker {
        let now = Instant::now();
        DiskWorker {
            shared,
            files,
            options,
            policy,
            directory,
            log: None,
            openings: 0,
            taken_over: None,
            trouble: None,
            committed: now,
            finished: 0,
            looked_for_expiry: now,
            reserved_sequence: now,
        }
    }

    /// Takes the directory over, with what an earlier process has left there. Trouble with that is said, and tried to
    /// get over at later turns.
    ///
    /// # Errors
    /// [`Stopped`], if `progress` says so.
    pub fn open(&mut self, now: Instant, progress: Watch<'_>) -> Result<(), Stopped> {
        let opened = self.try_open(now, progress);
        if opened.as_ref().is_err_and(Stopped::is) {
            return Err(Stopped);
        }
        self.note(opened, now);
        self.publish();
        Ok(())
    }

    fn try_open(&mut self, now: Instant, progress: Watch<'_>) -> io::Result<()> {
        let (mut log, recovered, findings) = Log::open(self.files.clone(), self.options.clone(), progress)?;
        for finding in &findings {
            finding.log();
        }
        let records: u64 = recovered.iter().flat_map(|lane| &lane.records).map(|(_, count, _)| count).sum();
        let found = log.ledger().sequence_ceiling;
        match self.taken_over {
            None => {
                let start = self.shared.sequence_start.load(Ordering::Relaxed).max(found);
                log.raise_ceiling(start.saturating_add(SEQUENCE_RESERVE))?;
                self.shared.sequence_start.store(start, Ordering::Relaxed);
            }
            Some(before) => log.raise_ceiling(before.ceiling.max(found))?,
        }
        match self.taken_over.filter(|before| before.queue_id == log.ledger().queue_id) {
            // The same one: all that has not gone with a file is as the store knows it.
            Some(before) => {
                for (lane, next) in LANES.into_iter().zip(before.next) {
                    self.shared.change(now, |store| store.forget(lane, log.end(lane), now));
                    log.go_on_from(lane, next);
                }
            }
            None => {
                let is_taken = self.shared.change(now, |store| {
                    if records > 0 && !store.nothing_leased() {
                        return false;
                    }
                    for (lane, recovered) in LANES.into_iter().zip(recovered) {
                        store.forget(lane, 0, now);
                        store.recover(lane, recovered.next, recovered.records, recovered.oldest_received_ns);
                    }
                    true
                });
                if !is_taken {
                    // What is leased is younger.
                    return Err(io::Error::other("it holds records of an earlier process while others are in flight"));
                }
                if records > 0 {
                    let what = counted(records, "record of an earlier process is", "records of an earlier process are");
                    tracing::info!(records, "{what} in the queue.");
                }
            }
        }
        self.log = Some(log);
        self.openings += 1;
        self.remember();
        Ok(())
    }

    /// Notes what has to go on in another directory, should this one go away.
    fn remember(&mut self) {
        if let Some(log) = &self.log {
            let Entry { queue_id, sequence_ceiling: ceiling, .. } = *log.ledger();
            self.taken_over = Some(TakenOver { queue_id, ceiling, next: LANES.map(|lane| log.next(lane)) });
        }
    }

    fn open_again(&mut self, now: Instant) {
        // Nobody stops it.
        let _ = self.open(now, &mut go_on);
    }

    /// What the log knows of topics: see there.
    #[cfg(test)]
    pub fn registers(&self) -> [usize; 4] {
        self.log.as_ref().map(Log::registers).unwrap_or_default()
    }

    /// Runs until the queue is closed, and everything that should be on the disk is there.
    pub fn run(&mut self) {
        loop {
            let now = Instant::now();
            let (closing, before) = {
                let inner = self.shared.lock();
                (inner.closing, inner.store.memory_only())
            };
            let openings = self.openings;
            let sleep = self.turn(now);
            let mut inner = self.shared.lock();
            // What came in meanwhile is seen in the next turn.
            if inner.closing {
                let unwritten = inner.store.to_write_since(true).is_some();
                // Nor does a disk that is full or does not work keep the process from ending.
                let is_no_less = inner.store.memory_only() >= before;
                let stuck = closing && is_no_less && self.openings == openings;
                if !unwritten || stuck {
                    break;
                }
                continue;
            }
            let Some((sleep, duration)) = sleep else { continue };
            // What waits for the oldest record in flight waits for the uplink, not for the ledger.
            let done_since = inner.store.waits_for_ledger() && inner.store.finished() != self.finished;
            if done_since || sleep == Sleep::UntilTold && inner.store.to_write_since(false).is_some() {
                continue;
            }
            inner.worker = sleep;
            let (mut inner, _) = self.shared.wait_for_work(inner, duration);
            inner.worker = Sleep::Awake;
        }
        let (now, done) = (Instant::now(), self.done());
        if let Some(log) = &mut self.log {
            let committed = log.commit(&done, true, now);
            self.note(committed, now);
        }
        self.publish();
    }

    /// Does what is due. Returns how long nothing will be, unless somebody tells.
    pub fn turn(&mut self, now: Instant) -> Option<(Sleep, Duration)> {
        let (closing, forgotten) = {
            let mut inner = self.shared.lock();
            (inner.closing, inner.store.take_forgotten())
        };
        if let Some(log) = &mut self.log {
            log.forget(forgotten);
        }
        // The last try does not wait.
        if let Some(trouble) = self.trouble.as_ref().filter(|trouble| now < trouble.retry && !closing) {
            return Some((Sleep::Deaf, trouble.retry.saturating_duration_since(now)));
        }
        if self.log.is_none() {
            // What is leased now is younger than what an earlier process may have left.
            if self.taken_over.is_some() || self.shared.lock().store.nothing_leased() {
                self.open_again(now);
            }
            return self.log.is_none().then_some((Sleep::Deaf, NAP));
        }
        self.shared.lock().disk_busy_since = Some(now);
        let worked = self.work(now);
        self.shared.lock().disk_busy_since = None;
        self.remember();
        if worked.as_ref().is_err_and(is_gone) {
            // Nothing more is written to what nothing leads to, and the lock goes with it.
            self.log = None;
        }
        self.note(worked, now);
        if self.log.is_none() && closing {
            self.open_again(now);
        }
        self.publish();
        let inner = self.shared.lock();
        match inner.store.to_write_since(inner.closing) {
            None => Some((Sleep::UntilTold, NAP)),
            Some(since) => {
                let wait = (since + self.policy.sync).saturating_duration_since(Instant::now());
                (!wait.is_zero()).then_some((Sleep::UntilGroup, wait.min(NAP)))
            }
        }
    }

    fn work(&mut self, now: Instant) -> io::Result<()> {
        // What is written is written by the clocks of this moment.
        self.shared.lock().look_at_clocks();
        if let Some(log) = &self.log {
            log.check_names()?;
        }
        self.read(now)?;
        let due = {
            let inner = self.shared.lock();
            let since = inner.store.to_write_since(inner.closing);
            since.is_some_and(|since| {
                inner.closing || inner.store.is_pressed() || now.saturating_duration_since(since) >= self.policy.sync
            })
        };
        if due {
            for lane in LANES {
                self.write(lane, now)?;
            }
        }
        self.read(now)?;
        if now.saturating_duration_since(self.looked_for_expiry) >= EXPIRY_LOOK {
            self.looked_for_expiry = now;
            self.give_up_expired(now)?;
        }
        if now.saturating_duration_since(self.reserved_sequence) >= SEQUENCE_PERIOD
            && let Some(log) = &mut self.log
        {
            self.reserved_sequence = now;
            log.raise_ceiling(log.ledger().sequence_ceiling.saturating_add(SEQUENCE_RESERVE / 2))?;
        }
        self.commit(now)?;
        self.log.as_mut().map_or(Ok(()), Log::tidy_routes)
    }

    /// Reads what will be sent next.
    fn read(&mut self, now: Instant) -> io::Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        for lane in LANES {
            loop {
                let wanted = {
                    let mut inner = self.shared.lock();
                    inner.store.unread(lane);
                    inner.store.wants_read(lane)
                };
                let Some((numbers, bytes)) = wanted else { break };
                let read = log.read(lane, numbers.clone(), bytes, now)?;
                let range = (numbers.start, read.next);
                self.shared.change(now, |store| store.end_read(lane, range, read.records, now));
            }
        }
        Ok(())
    }

    /// Writes what should be durable of `lane`.
    fn write(&mut self, lane: Priority, now: Instant) -> io::Result<()> {
        loop {
            let Some(log) = &mut self.log else { return Ok(()) };
            let first = log.next(lane);
            let records = self.shared.lock().store.begin_write(lane, first, BATCH);
            if records.is_empty() {
                return Ok(());
            }
            if !log.has_room(&records) {
                self.shared.lock().store.end_write(lane, first, 0, now);
                if !self.make_room(lane, now)? {
                    return Ok(());
                }
                continue;
            }
            let (mut written, mut result) = (0, Ok(()));
            while written < records.len() {
                let left = &records[written..];
                match log.append(lane, left, now) {
                    Ok(count) => written += count,
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
                if !log.has_room(&records[written..]) {
                    break;
                }
            }
            self.shared.change(now, |store| store.end_write(lane, first, written, now));
            result?;
        }
    }

    /// Gives a segment up, so that `lane` can be written to. Returns whether there was one.
    fn make_room(&mut self, lane: Priority, now: Instant) -> io::Result<bool> {
        if self.policy.overflow == Overflow::DropNewest {
            return Ok(false);
        }
        for victim in LANES.into_iter().rev().filter(|&victim| victim >= lane) {
            let Some(log) = &self.log else { return Ok(false) };
            let spared = self.shared.lock().store.leased_numbers(victim);
            let Some(segment) = log.oldest(victim, &spared).cloned() else { continue };
            if self.give_up(&segment, DropReason::Overflow, now)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives up the segments that have expired as a whole.
    fn give_up_expired(&mut self, now: Instant) -> io::Result<()> {
        for lane in LANES {
            loop {
                let Some(log) = &self.log else { return Ok(()) };
                let (spared, gaps) = {
                    let inner = self.shared.lock();
                    (inner.store.leased_numbers(lane), inner.store.gaps(lane))
                };
                let Some(segment) = log.oldest(lane, &spared).filter(|_| !gaps.is_empty()).cloned() else { break };
                if !log.has_expired(&segment, now) || !self.give_up(&segment, DropReason::Expired, now)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Drops the records of a segment, then the segment. Returns false if that is not possible now.
    fn give_up(&mut self, segment: &Segment, reason: DropReason, now: Instant) -> io::Result<bool> {
        let Some(log) = &mut self.log else { return Ok(false) };
        let (lane, numbers): (_, Range<u64>) = (segment.lane, segment.numbers.clone());
        let gaps = self.shared.lock().store.gaps(lane);
        let counts = if gaps.is_empty() { Vec::new() } else { log.count(segment, &gaps)? };
        let gone = Gone { numbers: numbers.clone(), counts, reason };
        if !self.shared.change(now, |store| store.give_up(lane, gone, &gaps)) {
            return Ok(false);
        }
        log.give_up(lane, numbers.start);
        self.commit_now(now)?;
        Ok(true)
    }

    /// Lets the disk know what is done, if that is due.
    fn commit(&mut self, now: Instant) -> io::Result<()> {
        self.finished = self.shared.lock().store.finished();
        let done = self.done();
        let Some(log) = &self.log else { return Ok(()) };
        let is_news = log.is_news(&done);
        let waits = self.shared.lock().store.waits_for_ledger();
        let lags = now.saturating_duration_since(self.committed) >= LEDGER_LAG;
        let due = is_news && (waits || lags) || log.has_retired() || lags && log.holds_done(&done, now);
        if due {
            return self.commit_now(now);
        }
        if !is_news {
            self.recorded(&done, now);
        }
        Ok(())
    }

    /// The ledger says what is `done`.
    fn recorded(&self, done: &[Done; 3], now: Instant) {
        let lanes = || LANES.into_iter().zip(done);
        let is_known = {
            let inner = self.shared.lock();
            lanes().all(|(lane, done)| inner.store.is_recorded(lane, done))
        };
        if !is_known {
            self.shared.change(now, |store| lanes().for_each(|(lane, done)| store.recorded(lane, done)));
        }
    }

    fn commit_now(&mut self, now: Instant) -> io::Result<()> {
        let done = self.done();
        let Some(log) = &mut self.log else { return Ok(()) };
        self.committed = now;
        let before = log.ledger_writes();
        let committed = log.commit(&done, false, now);
        // Even if a file could not be removed.
        if committed.is_ok() || log.ledger_writes() > before {
            self.recorded(&done, now);
        }
        committed
    }

    /// What of each lane is done.
    fn done(&self) -> [Done; 3] {
        let inner = self.shared.lock();
        LANES.map(|lane| self.log.as_ref().map_or_else(Done::default, |log| inner.store.done(lane, log.next(lane))))
    }

    /// Notes whether the disk works, and says it when that changes.
    fn note(&mut self, result: io::Result<()>, now: Instant) {
        if result.is_ok() != self.trouble.is_none() {
            self.shared.change(now, |store| store.set_disk_works(result.is_ok()));
        }
        match (result, &mut self.trouble) {
            (Ok(()), None) => {}
            (Ok(()), Some(trouble)) => {
                let seconds = now.saturating_duration_since(trouble.since).as_secs();
                tracing::warn!(seconds, "The queue's disk works again, after {seconds} s.");
                self.trouble = None;
            }
            (Err(error), None) => {
                let text = in_words(&error, &self.directory);
                tracing::error!(
                    error = text,
                    "The queue's disk does not work: {text}. The queue goes on in memory; what is only there is lost \
                     with the process."
                );
                self.trouble = Some(Trouble { text, since: now, retry: now + RETRY });
            }
            (Err(error), Some(trouble)) => {
                trouble.text = in_words(&error, &self.directory);
                trouble.retry = now + RETRY;
            }
        }
    }

    /// Shows how it stands with the disk.
    fn publish(&self) {
        let log = self.log.as_ref();
        let figures = DiskFigures {
            bytes: log.map_or(0, Log::bytes),
            bound: self.options.bound,
            lanes: LANES.map(|lane| log.map_or(0, |log| log.lane_bytes(lane))),
            set_aside: log.map_or(0, Log::quarantined),
            trouble: self.trouble.as_ref().map(|trouble| trouble.text.clone()),
        };
        self.shared.lock().disk = Some(figures);
    }
}

/// Whether the directory, or a file in it, is not there any more: then it is looked at anew.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::StaleNetworkFileHandle
    )
}

fn in_words(error: &io::Error, directory: &Path) -> String {
    let directory = directory.display();
    match error.kind() {
        _ if is_gone(error) => format!("{directory}, or a file in it, was removed or replaced"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("the file system of {directory} is full (`df {directory}`)")
        }
        io::ErrorKind::ReadOnlyFilesystem => format!("the file system of {directory} is read-only"),
        io::ErrorKind::WouldBlock => format!("another process has {directory}"),
        io::ErrorKind::PermissionDenied => format!("{directory} may not be used ({error})"),
        _ => format!("{error} ({directory})"),
    }
}

//! The same with redb, an embedded database, used as a queue would use it: a table from number to record, a transaction
//! for each group as the queue's disk worker makes them, its cache no larger than the queue's memory.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use tempfile::TempDir;

use crate::meter::{Cost, Meter};
use crate::{BEAT, PAYLOAD, RECORDS, measured, payload};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("records");

/// What a record takes beside its payload: route, received and expires, as in the queue's own frames.
const HEAD: usize = 20;

/// Records of a group as large as the disk worker's: a mebibyte, in which each counts 192 bytes beside its payload.
const GROUP: u64 = (1 << 20) / (PAYLOAD as u64 + 192);

/// The disk worker's time between two groups.
const SYNC: Duration = Duration::from_millis(100);

fn path(directory: &Path) -> PathBuf {
    directory.join("queue.redb")
}

fn create(directory: &TempDir) -> Database {
    Database::builder().set_cache_size(64 << 20).create(path(directory.path())).expect("a database")
}

/// Commits a group of records durably, of which the first has the number `first`.
fn append(database: &Database, first: u64, payloads: &[Bytes]) {
    let transaction = database.begin_write().expect("a transaction");
    {
        let mut table = transaction.open_table(TABLE).expect("a table");
        let mut value = vec![0; HEAD + PAYLOAD];
        for (number, payload) in (first..).zip(payloads) {
            value[HEAD..].copy_from_slice(payload);
            table.insert(number, value.as_slice()).expect("an insertion");
        }
    }
    transaction.commit().expect("a commit");
}

fn append_all(database: &Database, records: u64) {
    for first in (0..records).step_by(GROUP as usize) {
        let payloads: Vec<_> = (first..(first + GROUP).min(records)).map(payload).collect();
        append(database, first, &payloads);
    }
}

/// Records that go to the disk as fast as it takes them.
pub fn written(directory: &TempDir) -> Cost {
    let database = create(directory);
    measured(RECORDS, || append_all(&database, RECORDS))
}

/// Ten seconds at a rate, a group each 100 ms.
pub fn written_at(directory: &TempDir, rate: u64) -> Cost {
    let database = create(directory);
    measured(10 * rate, || {
        let (start, mut first, mut committed) = (Instant::now(), 0, Instant::now());
        let mut waiting = Vec::new();
        while first < 10 * rate {
            // Records come as they come to the queue, not once a group.
            sleep(BEAT);
            let due = (start.elapsed().as_micros() as u64 * rate / 1_000_000).min(10 * rate);
            waiting.extend((first + waiting.len() as u64..due).map(payload));
            if committed.elapsed() >= SYNC || due == 10 * rate {
                append(&database, first, &waiting);
                first += waiting.len() as u64;
                waiting.clear();
                committed = Instant::now();
            }
        }
    })
}

/// All records to the disk, back, and removed in groups.
pub fn through(directory: &TempDir) -> Cost {
    let database = create(directory);
    measured(RECORDS, || {
        append_all(&database, RECORDS);
        for first in (0..RECORDS).step_by(GROUP as usize) {
            take(&database, first..(first + GROUP).min(RECORDS));
        }
        let left = database.begin_read().expect("a transaction").open_table(TABLE).expect("a table");
        assert!(left.is_empty().expect("a look"), "all is removed");
    })
}

/// Reads a group and removes it.
fn take(database: &Database, numbers: std::ops::Range<u64>) {
    let read = database.begin_read().expect("a transaction").open_table(TABLE).expect("a table");
    let records = read.range(numbers.clone()).expect("a range");
    // Copied out, as what is to be sent has to be.
    let records: Vec<_> = records.map(|entry| Bytes::copy_from_slice(entry.expect("a record").1.value())).collect();
    assert_eq!(records.len() as u64, numbers.end - numbers.start);
    drop(read);
    let transaction = database.begin_write().expect("a transaction");
    {
        let mut table = transaction.open_table(TABLE).expect("a table");
        table.retain_in(numbers, |_, _| false).expect("a removal");
    }
    transaction.commit().expect("a commit");
}

/// What a start takes after a kill: the database checks itself, and the records are walked through, since the bridge
/// has to know how many there are of each topic.
pub fn recovered(directory: &TempDir) -> Cost {
    let database = create(directory);
    append_all(&database, RECORDS);
    // As a kill would leave it: never closed.
    let killed = directory.path().join("killed");
    std::fs::create_dir(&killed).expect("a directory");
    std::fs::copy(path(directory.path()), path(&killed)).expect("a copy");
    let meter = Meter::start();
    let database = Database::builder().set_cache_size(64 << 20).open(path(&killed)).expect("a database");
    let read = database.begin_read().expect("a transaction").open_table(TABLE).expect("a table");
    let bytes: usize = read.range(0..).expect("a range").map(|entry| entry.expect("a record").1.value().len()).sum();
    assert_eq!(bytes as u64, RECORDS * (HEAD + PAYLOAD) as u64);
    let files = path(&killed).metadata().expect("a file").len();
    Cost { written: files, ..meter.stop(RECORDS) }
}

//! `iot-bridge queue export`: all records, as JSON lines.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use super::super::bar::Bar;
use super::{files, held, look};
use iot_bridge_core::accounts;
use iot_bridge_core::config::{Priority, Qos};
use iot_bridge_core::files::Files;
use iot_bridge_core::packing::Correlated;
use iot_bridge_core::queue::disk::format::{StoredRecord, StoredRoute};
use iot_bridge_core::queue::disk::reader::Reader;
use iot_bridge_core::queue::disk::survey::Survey;
use iot_bridge_core::queue::disk::{LANES, LOCK};
use iot_bridge_core::tally::counted;

/// The bar moves after so many records.
const STEP: u64 = 1000;

/// A record, as it is printed.
#[derive(Serialize)]
struct Line<'a> {
    lane: Priority,
    ros: &'a str,
    mqtt: &'a str,
    qos: Qos,
    retain: bool,
    number: u64,
    /// Nanoseconds since 1970.
    received: i64,
    expires: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    /// Of a reply, if its request had correlation data.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_base64: Option<String>,
}

impl<'a> Line<'a> {
    fn new(
        lane: Priority,
        number: u64,
        route: &'a StoredRoute,
        record: &StoredRecord<Bytes>,
        sent: &'a Correlated,
    ) -> Line<'a> {
        let text = std::str::from_utf8(&sent.payload).ok();
        Line {
            lane,
            ros: &route.ros,
            mqtt: &route.mqtt,
            qos: route.qos,
            retain: route.retain,
            number,
            received: record.received_ns,
            expires: record.expires_ns,
            payload: text,
            payload_base64: text.is_none().then(|| STANDARD.encode(&sent.payload)),
            correlation_base64: sent.data.as_ref().map(|data| STANDARD.encode(data)),
        }
    }
}

pub fn execute(directory: &Path, output: Option<&Path>) -> anyhow::Result<ExitCode> {
    let files = files(directory)?;
    let _lock = held(files.share_lock(LOCK), directory)?;
    let survey = look(&files, directory)?;
    let records = match output {
        Some(path) => {
            let cannot = || format!("can't write {}", path.display());
            let created = create(path).map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    anyhow!("{} can't be written by the user {}", path.display(), accounts::own_name())
                }
                _ => anyhow::Error::new(error).context(cannot()),
            });
            let mut out = BufWriter::new(created?);
            let records = export(&files, &survey, &mut out).with_context(cannot)?;
            // Somebody may purge the queue next.
            out.get_ref().sync_all().with_context(cannot)?;
            records
        }
        None => export(&files, &survey, &mut BufWriter::new(io::stdout().lock()))?,
    };
    for finding in &survey.findings {
        eprintln!("{finding}");
    }
    eprintln!("{}.", counted(records, "record", "records"));
    Ok(ExitCode::SUCCESS)
}

/// A new file that nobody else reads, as the queue's own.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Writes all records that are not done. Returns how many there are.
fn export(files: &dyn Files, survey: &Survey, out: &mut impl Write) -> io::Result<u64> {
    let of = survey.lanes.iter().flat_map(|lane| lane.pending.values()).map(|waiting| waiting.records).sum();
    let mut bar = Bar::new("Exporting");
    let mut records = 0;
    for (lane, surveyed) in LANES.into_iter().zip(&survey.lanes) {
        let ledger = &survey.entry.lanes[lane as usize];
        for segment in &surveyed.segments {
            // What the reader may find out more about the segment is of no use here.
            let mut segment = segment.clone();
            let mut reader = Reader::open(files, &segment, segment.numbers.start.max(ledger.done))?;
            while let Some((number, record)) = reader.next(&mut segment)? {
                // All before the first that waits are done.
                let waits = surveyed.pending.get(&record.route).is_some_and(|waiting| number >= waiting.first);
                // Without a route it can't be sent either, and is among the findings.
                let Some(route) = survey.routes.get(record.route).filter(|_| waits) else { continue };
                let sent = route.packing.split(record.payload.clone());
                serde_json::to_writer(&mut *out, &Line::new(lane, number, route, &record, &sent))?;
                out.write_all(b"\n")?;
                records += 1;
                if records % STEP == 0 {
                    bar.at(records, of);
                }
            }
        }
    }
    out.flush()?;
    Ok(records)
}

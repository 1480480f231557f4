//! `iot-bridge queue show`: what is in the queue.

use std::fmt::Write;
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use indicatif::HumanBytes;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{cannot_read, files, held, look};
use iot_bridge_core::config::{Priority, Qos};
use iot_bridge_core::queue::disk::finding::Finding;
use iot_bridge_core::queue::disk::purge::Doomed;
use iot_bridge_core::queue::disk::segment::directory;
use iot_bridge_core::queue::disk::survey::{Survey, SurveyedLane};
use iot_bridge_core::queue::disk::{LANES, LOCK};
use iot_bridge_core::tally::counted;
use iot_bridge_core::terminal::print;

/// What `queue show --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    directory: String,
    /// Records that were not sent.
    records: u64,
    /// Bytes of the files that hold them, and of what is set aside.
    file_bytes: u64,
    topics: Vec<Topic<'a>>,
    lanes: Vec<Lane>,
    findings: Vec<Found<'a>>,
    quarantine: Vec<SetAside>,
    /// No message has had this sequence number, or a higher one.
    sequence_ceiling: u64,
}

/// The records of a topic in a lane.
#[derive(Serialize)]
struct Topic<'a> {
    lane: Priority,
    ros: &'a str,
    mqtt: &'a str,
    qos: Qos,
    retain: bool,
    records: u64,
    /// Of their payloads.
    bytes: u64,
    /// Nanoseconds since 1970.
    oldest_received: i64,
    newest_received: i64,
}

/// What the ledger says of a lane, and how many segments hold something that is not done.
#[derive(Serialize)]
struct Lane {
    lane: Priority,
    segments: usize,
    /// Records with lower numbers are done.
    done: u64,
    /// The number that no record has had.
    next: u64,
}

#[derive(Serialize)]
struct Found<'a> {
    file: &'a str,
    /// The bytes of the file that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Range<u64>>,
    /// Whether records are lost by it, or may be.
    loss: bool,
    text: String,
}

#[derive(Serialize)]
struct SetAside {
    file: String,
    bytes: u64,
}

pub fn execute(directory: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let files = files(directory)?;
    let _lock = held(files.share_lock(LOCK), directory)?;
    let survey = look(&files, directory)?;
    let own = Doomed::find(&files).with_context(|| cannot_read(directory))?;
    let report = Report::new(directory, &survey, own);
    let text = if json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text()? };
    Ok(print(text.as_bytes()))
}

impl<'a> Report<'a> {
    fn new(directory: &Path, survey: &'a Survey, own: Doomed) -> Report<'a> {
        let topics: Vec<_> =
            LANES.into_iter().zip(&survey.lanes).flat_map(|(lane, own)| topics(lane, own, survey)).collect();
        let lanes = LANES.into_iter().zip(&survey.lanes).map(|(lane, own)| Lane {
            lane,
            segments: own.segments.len(),
            done: survey.entry.lanes[lane as usize].done,
            next: own.next,
        });
        Report {
            directory: directory.display().to_string(),
            records: topics.iter().map(|topic| topic.records).sum(),
            file_bytes: own.bytes(),
            topics,
            lanes: lanes.collect(),
            findings: survey.findings.iter().map(found).collect(),
            quarantine: own.set_aside.into_iter().map(|(file, bytes)| SetAside { file, bytes }).collect(),
            sequence_ceiling: survey.entry.sequence_ceiling,
        }
    }
}

fn topics<'a>(lane: Priority, surveyed: &SurveyedLane, survey: &'a Survey) -> Vec<Topic<'a>> {
    let routes = surveyed.pending.iter().filter_map(|(&id, waiting)| Some((survey.routes.get(id)?, waiting)));
    let topics = routes.map(|(route, waiting)| Topic {
        lane,
        ros: &route.ros,
        mqtt: &route.mqtt,
        qos: route.qos,
        retain: route.retain,
        records: waiting.records,
        bytes: waiting.bytes,
        oldest_received: waiting.oldest_received_ns,
        newest_received: waiting.newest_received_ns,
    });
    let mut topics: Vec<_> = topics.collect();
    topics.sort_by_key(|topic| (topic.ros, topic.mqtt));
    topics
}

fn found(finding: &Finding) -> Found<'_> {
    Found { file: &finding.file, place: finding.place(), loss: finding.is_loss(), text: finding.to_string() }
}

impl Report<'_> {
    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let payload = self.topics.iter().map(|topic| topic.bytes).sum();
        writeln!(
            text,
            "{}: {} not sent, {} of payload; {} on the disk.",
            self.directory,
            counted(self.records, "record that was", "records that were"),
            HumanBytes(payload),
            HumanBytes(self.file_bytes)
        )?;
        if !self.topics.is_empty() {
            writeln!(text)?;
            write_table(&mut text, &self.topics)?;
        }
        if !self.findings.is_empty() {
            writeln!(text, "\nWhat is wrong with the files:")?;
            self.findings.iter().try_for_each(|found| writeln!(text, "  {}", found.text))?;
        }
        if !self.quarantine.is_empty() {
            writeln!(text, "\nSet aside, because it could not be read:")?;
            self.quarantine.iter().try_for_each(|SetAside { file, bytes }| {
                writeln!(text, "  {file} ({})", counted(*bytes, "byte", "bytes"))
            })?;
        }
        writeln!(text, "\nThe ledger:")?;
        for Lane { lane, segments, done, next } in &self.lanes {
            let segments = counted(*segments as u64, "segment", "segments");
            writeln!(text, "  {}: done below {done}, next {next}, {segments}", directory(*lane))?;
        }
        writeln!(text, "  sequence numbers below {}", self.sequence_ceiling)?;
        Ok(text)
    }
}

/// A line for each topic, in columns.
fn write_table(text: &mut String, topics: &[Topic<'_>]) -> std::fmt::Result {
    let heading = ["lane", "topic", "published to", "records", "payload", "oldest", "newest"].map(str::to_owned);
    let rows = topics.iter().map(|topic| {
        [
            directory(topic.lane).to_owned(),
            topic.ros.to_owned(),
            topic.mqtt.to_owned(),
            topic.records.to_string(),
            HumanBytes(topic.bytes).to_string(),
            time(topic.oldest_received),
            time(topic.newest_received),
        ]
    });
    let rows: Vec<_> = std::iter::once(heading).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Nanoseconds since 1970 as a time of day, to the second.
fn time(nanoseconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(nanoseconds.div_euclid(1_000_000_000)).ok();
    // A robot's clock can stand anywhere, but not everywhere is a date.
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{nanoseconds} ns"))
}

//! What a selection costs beside sending everything: ratios of times that were measured in turns in one run, so that a busy
//! machine slows both sides.
//!
//! Fails if one is over what docs/performance.md promises, with a tenth for the measurement.

#[path = "../tests/codec/encode.rs"]
#[allow(dead_code, reason = "the JSON writer is for the tests")]
mod encode;
#[path = "../../../benches/codec/messages.rs"]
mod messages;
#[path = "../../../benches/codec/schemas.rs"]
mod schemas;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use encode::Value;
use iot_bridge_core::codec::{Decoder, JsonBuffer, Schema, Selection};
use iot_bridge_core::config::FieldPath;

const LIMIT: usize = 8 << 20;
/// Turns of both sides, of which the fastest count.
const TURNS: usize = 400;
/// Shortest time of a turn.
const TURN: Duration = Duration::from_micros(300);
const NOISE: f64 = 1.1;

fn main() -> ExitCode {
    let mut table = Table { over: false };
    println!("| message | selection | beside | time | beside | ratio | at most |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (title, schema, values) in messages::all() {
        let cdr = encode::cdr(&schema, &values, false);
        let everything = Side { decoder: decoder(&schema, Selection::default()), cdr: &cdr };
        let of = |selection| Side { decoder: decoder(&schema, selection), cdr: &cdr };
        let first = paths(&[&schema.fields[0].name]);
        let last = paths(&[&schema.fields[schema.fields.len() - 1].name]);
        for (name, selection) in [
            ("the first field", Selection { fields: first.clone(), ..Selection::default() }),
            ("all but the first field", Selection { exclude: first, ..Selection::default() }),
            ("the last field", Selection { fields: last, ..Selection::default() }),
            ("all fields, one by one", Selection { fields: paths(&["*"]), ..Selection::default() }),
            ("digits = 6", Selection { digits: Some(6), ..Selection::default() }),
        ] {
            if schema.fields.len() > 1 || name != "all but the first field" {
                table.row(title, name, &of(selection), "everything", &everything, 1.0);
            }
        }
    }
    let small = cloud(16);
    let large = cloud(1 << 20);
    let width = Selection { fields: paths(&["width"]), ..Selection::default() };
    let side = |cdr| Side { decoder: decoder(&schemas::point_cloud(), width.clone()), cdr };
    table.row("PointCloud2, 1 MiB", "width", &side(&large), "width of one of 16 bytes", &side(&small), 1.0);
    ExitCode::from(u8::from(table.over))
}

/// A point cloud of so many bytes of data.
fn cloud(bytes: usize) -> Vec<u8> {
    let (_, schema, mut values) = messages::all().pop().expect("there are messages");
    assert_eq!(schema.name, "sensor_msgs/msg/PointCloud2");
    values[7] = Value::List(vec![Value::Unsigned(90); bytes]);
    encode::cdr(&schema, &values, false)
}

fn paths(paths: &[&str]) -> Vec<FieldPath> {
    paths.iter().map(|path| FieldPath::parse(path).expect("it is a path")).collect()
}

fn decoder(schema: &Arc<Schema>, selection: Selection) -> Decoder {
    Decoder::select(Arc::clone(schema), &selection).expect("the type has it")
}

struct Side<'a> {
    decoder: Decoder,
    cdr: &'a [u8],
}

impl Side<'_> {
    fn run(&self, times: u32, out: &mut JsonBuffer) -> Duration {
        let start = Instant::now();
        for _ in 0..times {
            out.clear();
            self.decoder.write_json(black_box(self.cdr), out).expect("the message is well-formed");
            black_box(out.as_bytes().len());
        }
        start.elapsed()
    }
}

struct Table {
    over: bool,
}

impl Table {
    fn row(&mut self, title: &str, name: &str, one: &Side, beside: &str, other: &Side, most: f64) {
        let mut out = JsonBuffer::new(LIMIT);
        let times = |side: &Side, out: &mut JsonBuffer| {
            let mut times = 1;
            while side.run(times, out) < TURN {
                times *= 2;
            }
            times
        };
        let (times_one, times_other) = (times(one, &mut out), times(other, &mut out));
        let (mut best_one, mut best_other) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..TURNS {
            best_one = best_one.min(one.run(times_one, &mut out).as_nanos() as f64 / f64::from(times_one));
            best_other = best_other.min(other.run(times_other, &mut out).as_nanos() as f64 / f64::from(times_other));
        }
        let ratio = best_one / best_other;
        let verdict = if ratio > most * NOISE { " (over)" } else { "" };
        self.over |= !verdict.is_empty();
        println!(
            "| {title} | {name} | {beside} | {best_one:.0} ns | {best_other:.0} ns | {ratio:.2}{verdict} | {most} |"
        );
    }
}

//! How many instructions the codec, shaping and the queue take a message, beside what they took before: the same whatever
//! else the machine does, so that a slow-down is found which no clock shows.
//!
//! ```text
//! cargo instructions              counts, and fails where one is more than the tolerance over baseline.toml
//! cargo instructions --renew      counts, and writes baseline.toml and the tables of docs/performance.md
//! ```
//!
//! With another compiler, C library, processor or valgrind than the baseline's it fails by more than 25 % alone, and says so.
//!
//! This program runs itself under valgrind's callgrind, which writes a file for each call of [`counted`]. What is counted is
//! everything between the call and its return in all threads, the C library included, and nothing of the kernel. A message
//! is what a count is divided by, or a record, so that numbers stand beside those of docs/performance.md.

mod baseline;
mod callgrind;
mod codec;
mod kinds;
mod page;
mod queue;
mod shaping;

#[path = "../../tests/codec/encode.rs"]
#[allow(dead_code, reason = "the JSON writer is for the tests")]
mod encode;
#[path = "../../../../benches/codec/messages.rs"]
mod messages;
#[path = "../../../../benches/codec/schemas.rs"]
mod schemas;

use std::hint::black_box;
use std::process::ExitCode;

use baseline::Baseline;

/// What is counted.
struct Case {
    name: String,
    /// How often `work` does what it does when it is called.
    times: u32,
    work: Box<dyn FnMut()>,
}

impl Case {
    /// `once` does it once. It is called before it counts, so that buffers have grown.
    fn new(name: impl Into<String>, times: u32, mut once: impl FnMut() + 'static) -> Case {
        (0..10).for_each(|_| once());
        Case { name: name.into(), times, work: Box::new(move || (0..times).for_each(|_| once())) }
    }
}

/// Makes a case.
type Make = Box<dyn FnOnce() -> Case>;

/// Callgrind counts from the call of this to its return.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    // So that the call above is none that never returns here.
    black_box(());
}

/// Does everything, and tells in which order.
fn count() {
    let cases = [codec::cases(), shaping::cases(), queue::cases()];
    // Each is made when the one before is over, with whatever threads that had.
    for make in cases.into_iter().flatten() {
        let mut case = make();
        counted(&mut case.work);
        println!("{}\t{}", case.times, case.name);
    }
}

fn main() -> ExitCode {
    if callgrind::is_inside() {
        count();
        return ExitCode::SUCCESS;
    }
    // cargo says `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let renews = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--renew"] => true,
        _ => return failed("allowed is --renew, or nothing"),
    };
    let counts = match callgrind::run() {
        Ok(counts) => counts,
        Err(why) => return failed(&why),
    };
    if renews {
        return match Baseline::now(counts).write() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => failed(&why),
        };
    }
    match Baseline::read() {
        Ok(baseline) if baseline.compare(&counts) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => failed(&why),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("instructions: {why}");
    ExitCode::FAILURE
}

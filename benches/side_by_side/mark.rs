//! What tells a message from the others: a text within it, `@NUMBER@TIME@`, always of the same length.
//!
//! The number counts messages of a topic, the time is that of the publication, in nanoseconds of the machine's monotonic
//! clock. Whoever publishes writes both in place; whatever becomes of the message on its way, the text stays.

use rustix::time::{ClockId, clock_gettime};

/// What stands in a message where the mark goes.
const PLACEHOLDER: &[u8] = b"@0000000000@00000000000000000000@";
const NUMBER: std::ops::Range<usize> = 1..11;
const TIME: std::ops::Range<usize> = 12..32;

/// Nanoseconds of the clock that all processes of the machine share.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Where the mark of `message` stands.
pub fn place(message: &[u8]) -> usize {
    message.windows(PLACEHOLDER.len()).position(|part| part == PLACEHOLDER).expect("the message has room for a mark")
}

/// Writes the mark that stands at `place`.
pub fn write(message: &mut [u8], place: usize, number: u64, time: u64) {
    let mark = &mut message[place..place + PLACEHOLDER.len()];
    put(&mut mark[NUMBER], number);
    put(&mut mark[TIME], time);
}

fn put(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// The numbers and times of all messages in `payload`, which may be a batch of them.
pub fn read_all(payload: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        loop {
            let place = rest.iter().position(|&byte| byte == b'@')?;
            let mark = rest.get(place..place + PLACEHOLDER.len())?;
            let value = |range| std::str::from_utf8(&mark[range]).ok()?.parse().ok();
            match value(NUMBER).zip(value(TIME)) {
                Some(read) => {
                    rest = &rest[place + PLACEHOLDER.len()..];
                    return Some(read);
                }
                None => rest = &rest[place + 1..],
            }
        }
    })
}

//! Any bytes at all, as what a broker or a proxy says.
//!
//! The fuzz targets `mqtt` and `proxy` feed these, led by coverage; tests/fuzz_seeds.rs feeds them seeds and mutations.

use super::client;
use super::dial;

/// What a broker sends, read as either version of MQTT: packets, a fault in words, or a wish for more, the same in however
/// many pieces it comes.
///
/// # Panics
/// If that is not so.
pub fn mqtt(bytes: &[u8]) {
    client::hostile::read(bytes);
}

/// What a proxy answers: a status or a fault in words, and nothing is taken of what follows the answer.
///
/// # Panics
/// If that is not so.
pub fn proxy(bytes: &[u8]) {
    dial::hostile::answer(bytes);
}

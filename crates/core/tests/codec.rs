//! The codec against an encoder of its own, against rclpy's bytes, and against bytes that are no message.

pub mod encode;
mod generate;
pub mod hostile;
mod identity;
mod properties;
mod selected;
mod vectors;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// 200,000 inputs of the fuzz target, the same ones in every run.
#[test]
fn hostile_bytes_do_no_harm() {
    let mut random = TestRng::deterministic_rng(RngAlgorithm::XorShift);
    let mut data = [0; 160];
    for round in 0..200_000 {
        let data = &mut data[..round % 161];
        random.fill_bytes(data);
        // Small bytes make counts that fit into what follows.
        let small = random.next_u64();
        for (index, byte) in data.iter_mut().enumerate().filter(|(index, _)| small >> (index % 64) & 1 == 1) {
            *byte %= 2 + (index % 7) as u8;
        }
        hostile::decode(data);
    }
}

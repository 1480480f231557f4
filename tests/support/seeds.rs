//! A fuzz target without a fuzzer: over its seeds in `fuzz/seeds`, and over mutations of them, the same ones in every run.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// Longest input that mutations make, in bytes.
const LONGEST: usize = 4096;

/// What parsers tell apart.
const WORDS: &[&[u8]] = &[
    b"\"",
    b"'",
    b"\\",
    b"\n",
    b"\r\n",
    b"[",
    b"]]",
    b"{",
    b"}",
    b"=",
    b":",
    b",",
    b"#",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e999",
    b"18446744073709551615",
    b"-9223372036854775808",
    b"\xff",
    b"\x00",
    b"\x1b[2J",
    b"\xc2\x9b",
    b"\xe2\x80\xae",
    b"\xef\xbb\xbf",
    b"\\u0000",
    b"\\ud800",
    b"\"1 s\"",
    b"\"0 B\"",
    b"{thing}",
    b"{ros}",
    b"{type}",
    b"\xff\xff\xff\xff",
    b"\x20\x03\x00\x00\x00",
    b"\x40\x02\x00\x01",
    b"\xe0\x01\x8e",
    b"\x1f\x00\x02",
    b"\x80\x80",
    b"\r\n\r\n",
    b"HTTP/1.1 ",
];

/// Runs `target` over the seeds of `fuzz/seeds/NAME` and over `mutations` of them. An input that fails is kept in a
/// file, which is named; in `fuzz/seeds` it is a test from then on.
pub fn run(name: &str, mutations: u64, target: impl Fn(&[u8])) {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|above| above.join("fuzz/seeds").is_dir());
    let directory = checkout.expect("fuzz/seeds in the checkout").join("fuzz/seeds").join(name);
    let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty(), "no seeds in {}", directory.display());
    let try_it = |input: &[u8], whence: &str| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
            fs::write(&kept, input).unwrap();
            eprintln!("The target {name} fails with {whence}, which is kept in {}.", kept.display());
            resume_unwind(panic);
        }
    };
    for (seed, path) in seeds.iter().zip(&paths) {
        try_it(seed, &path.display().to_string());
    }
    for number in 0..mutations {
        let mut random = StdRng::seed_from_u64(number);
        try_it(&mutation(&seeds, &mut random), &format!("mutation {number}"));
    }
}

/// One of the seeds with a few changes.
fn mutation(seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut input = seeds.choose(random).cloned().unwrap_or_default();
    for _ in 0..random.gen_range(1..5) {
        let from = random.gen_range(0..=input.len());
        let to = (from + random.gen_range(0..32)).min(input.len());
        match random.gen_range(0..6) {
            0 => input[from..to].iter_mut().for_each(|byte| *byte ^= 1 << random.gen_range(0..8)),
            1 => _ = input.drain(from..to),
            2 => _ = input.splice(from..from, WORDS.choose(random).copied().unwrap_or_default().iter().copied()),
            3 => _ = input.splice(from..to, WORDS.choose(random).copied().unwrap_or_default().iter().copied()),
            4 => {
                let piece = input[from..to].to_vec();
                let at = random.gen_range(0..=input.len());
                _ = input.splice(at..at, piece);
            }
            _ => {
                let other = seeds.choose(random).map_or(&[][..], Vec::as_slice);
                let start = random.gen_range(0..=other.len());
                let end = random.gen_range(start..=other.len().min(start + 256));
                _ = input.splice(from..to, other[start..end].iter().copied());
            }
        }
    }
    input.truncate(LONGEST);
    input
}

//! Compression of payloads.
//!
//! It runs where the payload is packed, on the task that serves the connection: a batch of 25 KiB of JSON takes about
//! half a millisecond with gzip and a quarter of that with zstd, 128 KiB some milliseconds. What is larger is compressed
//! before it is queued, on the ROS thread.

use std::io::Write;

use bytes::Bytes;
use flate2::write::GzEncoder;

use crate::config::Encoding;
use crate::shaping::PAYLOAD_LIMIT;

/// Compresses `plain`. Nothing, if there is no memory for it.
pub(super) fn compress(encoding: Encoding, plain: &[u8]) -> Option<Bytes> {
    let compressed = match encoding {
        Encoding::Gzip => {
            let level = match plain.len() {
                0..=PAYLOAD_LIMIT => flate2::Compression::default(),
                // Time counts more than the last percent.
                _ => flate2::Compression::fast(),
            };
            let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), level);
            encoder.write_all(plain).and_then(|()| encoder.finish()).ok()
        }
        Encoding::Zstd => zstd::bulk::compress(plain, zstd::DEFAULT_COMPRESSION_LEVEL).ok(),
    };
    // Without spare capacity: only the length is counted.
    compressed.map(|bytes| Bytes::from(bytes.into_boxed_slice()))
}

/// What was compressed.
#[cfg(test)]
pub(super) fn expand(encoding: Encoding, compressed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match encoding {
        Encoding::Gzip => {
            let mut decoder = flate2::write::GzDecoder::new(&mut plain);
            decoder.write_all(compressed).and_then(|()| decoder.finish()).expect("what was compressed expands");
        }
        Encoding::Zstd => plain = zstd::bulk::decompress(compressed, 4 << 20).expect("what was compressed expands"),
    }
    plain
}

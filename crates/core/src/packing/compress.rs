//! Compression of payloads.
//!
//! It runs where the payload is packed, on the task that serves the connection: a batch of 25 KiB of JSON takes about
//! half a millisecond with gzip and a quarter of that with zstd, 128 KiB some milliseconds. What is larger is compressed
//! before it is queued, on the ROS thread.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzEncoder;

use crate::config::Encoding;
use crate::config::PAYLOAD_LIMIT;

/// Compresses `plain`. `None` if that has more than `limit` bytes, which is found out once they are full.
pub(super) fn compress(encoding: Encoding, plain: &[u8], limit: usize) -> Option<Bytes> {
    let compressed = match encoding {
        Encoding::Gzip => {
            let level = match plain.len() {
                0..=PAYLOAD_LIMIT => flate2::Compression::default(),
                // Time counts more than the last percent.
                _ => flate2::Compression::fast(),
            };
            let bounded = Bounded { bytes: Vec::with_capacity(limit.min(plain.len() / 4)), limit };
            let mut encoder = GzEncoder::new(bounded, level);
            encoder.write_all(plain).and_then(|()| encoder.finish()).ok().map(|bounded| bounded.bytes)
        }
        Encoding::Zstd => {
            let mut bytes = Vec::with_capacity(limit);
            let compressor = zstd::bulk::Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL);
            compressor.and_then(|mut compressor| compressor.compress_to_buffer(plain, &mut bytes)).ok().map(|_| bytes)
        }
    };
    // Without spare capacity: only the length is counted.
    compressed.filter(|bytes| bytes.len() <= limit).map(|bytes| Bytes::from(bytes.into_boxed_slice()))
}

/// Takes `limit` bytes.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

//! What the tests of the queue run on, and what fuzz targets feed: no part of the product.
//!
//! - `harness`: a queue on a simulated disk, whose process ends and starts as a test says.
//! - `meddler`: a file system at each operation of which something else happens.
//! - `hostile`: any bytes at all in the queue's directory.
//!
//! The simulated files are those of [`files`](crate::files), and what holds of the store between any two calls is
//! checked beside it, where its fields are seen.

#[cfg_attr(not(test), allow(dead_code, reason = "the tests use all of it"))]
pub(in crate::queue) mod harness;
pub mod hostile;
#[cfg(test)]
pub(in crate::queue) mod meddler;

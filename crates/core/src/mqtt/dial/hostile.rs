//! Any bytes at all, as what a proxy answers.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::proxy::{self, LONGEST_HEAD};

/// Reads `bytes` as the answer to CONNECT.
pub fn answer(bytes: &[u8]) {
    let mut rest = bytes;
    let answered = match pin!(proxy::answer(&mut rest)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answered) => answered,
        Poll::Pending => panic!("there is nothing to wait for"),
    };
    let taken = &bytes[..bytes.len() - rest.len()];
    assert!(taken.len() <= LONGEST_HEAD, "{} bytes are taken", taken.len());
    let is_over_before = (0..taken.len()).any(|end| proxy::is_whole(&taken[..end]));
    assert!(!is_over_before, "what follows the answer is the tunnel's");
    match answered {
        Ok((code, reason)) => {
            assert!(code < 1000 && proxy::is_whole(taken), "{code}");
            assert!(!reason.contains(char::is_control), "{reason:?}");
        }
        Err(failure) => assert!(!failure.to_string().contains(char::is_control), "{failure}"),
    }
}

//! The wish to stop, which may be asked for again after it has come.

use std::pin::Pin;

/// Wraps the future that is ready when the uplink has to stop.
pub(super) struct Shutdown<'a> {
    wish: Pin<&'a mut (dyn Future<Output = ()> + Send)>,
    requested: bool,
}

impl<'a> Shutdown<'a> {
    pub fn new(wish: Pin<&'a mut (dyn Future<Output = ()> + Send)>) -> Self {
        Shutdown { wish, requested: false }
    }

    /// Ready when the uplink has to stop, and from then on always.
    pub async fn requested(&mut self) {
        if !self.requested {
            self.wish.as_mut().await;
            self.requested = true;
        }
    }

    /// Whether [`Shutdown::requested`] has been ready.
    pub fn is_requested(&self) -> bool {
        self.requested
    }
}

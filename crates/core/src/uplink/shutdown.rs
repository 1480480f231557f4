//! The wish to stop, which may be asked for again after it has come.

use std::pin::Pin;

/// Wraps the future that is ready when the uplink has to stop.
pub(super) struct Shutdown<'a> {
    /// `None` if it never comes.
    wish: Option<Pin<&'a mut (dyn Future<Output = ()> + Send)>>,
    requested: bool,
}

impl<'a> Shutdown<'a> {
    pub fn new(wish: Pin<&'a mut (dyn Future<Output = ()> + Send)>) -> Self {
        Shutdown { wish: Some(wish), requested: false }
    }

    /// A wish that never comes.
    pub fn never() -> Self {
        Shutdown { wish: None, requested: false }
    }

    /// Ready when the uplink has to stop, and from then on always.
    pub async fn requested(&mut self) {
        match &mut self.wish {
            _ if self.requested => {}
            Some(wish) => wish.as_mut().await,
            None => std::future::pending().await,
        }
        self.requested = true;
    }

    /// Whether [`Shutdown::requested`] has been ready.
    pub fn is_requested(&self) -> bool {
        self.requested
    }
}

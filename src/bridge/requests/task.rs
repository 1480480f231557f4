//! What a handler has done on one of tokio's blocking threads, because it may take long.

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::spawn_blocking;

use super::Outside;

/// Work on a blocking thread, at whose end the handlers are called.
pub(super) struct Task<T>(oneshot::Receiver<T>);

impl<T: Send + 'static> Task<T> {
    /// Begins `work`. To be called within tokio's runtime.
    pub fn begin(outside: &Outside, work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        let (ended, end) = oneshot::channel();
        let waker = outside.waker();
        spawn_blocking(move || {
            // An error means that nobody waits for it any more.
            let _ = ended.send(work());
            waker.notify_one();
        });
        Task(end)
    }

    /// What has become of it; `None` while it goes on.
    ///
    /// # Panics
    /// If the work has panicked.
    pub fn end(&mut self) -> Option<T> {
        match self.0.try_recv() {
            Ok(done) => Some(done),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => panic!("what was done on a blocking thread has panicked"),
        }
    }
}

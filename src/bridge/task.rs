//! A task that is to run as long as the bridge does.

use tokio::task::{JoinError, JoinHandle};

/// Whoever watches over it sees its end, which is still there for whoever stops it then.
pub(super) struct Task<T> {
    handle: JoinHandle<T>,
    ended: Option<Result<T, JoinError>>,
}

impl<T: Send + 'static> Task<T> {
    pub fn spawn(work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task { handle: tokio::spawn(work), ended: None }
    }

    /// Waits until it has ended by itself. Returns how.
    pub async fn death(&mut self) -> &Result<T, JoinError> {
        match &mut self.ended {
            Some(ended) => ended,
            none => none.insert((&mut self.handle).await),
        }
    }

    /// Waits for its end, if it has not ended already.
    pub async fn end(self) -> Result<T, JoinError> {
        match self.ended {
            Some(ended) => ended,
            None => self.handle.await,
        }
    }

    /// Ends it where it is.
    pub fn abort(&self) {
        self.handle.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task does not die unseen, and can be stopped after that.
    #[tokio::test]
    async fn the_end_of_a_task_is_seen() {
        let mut task = Task::<()>::spawn(async { panic!("as a test") });
        for _ in 0..2 {
            assert!(task.death().await.as_ref().unwrap_err().is_panic());
        }
        assert!(task.end().await.unwrap_err().is_panic());
    }
}

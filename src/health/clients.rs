//! Connections of those who ask how the bridge is.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Connections at a time, of one socket.
const MOST: usize = 16;

/// The connections that are served now. The newest always has a place: whoever holds many open, or reads slowly, keeps
/// nobody else out. All of them end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Clients {
    tasks: JoinSet<()>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Clients {
    /// Serves one more, for `limit` at the longest. Where there are [`MOST`] already, the oldest is closed.
    ///
    /// Returns when the others have had their turn as well: a flood of connections does not close one before it could
    /// be answered.
    pub async fn serve(&mut self, limit: Duration, client: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.oldest_first.retain(|client| !client.is_finished());
        if self.oldest_first.len() >= MOST
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
        }
        let served = self.tasks.spawn(async move {
            let _ = timeout(limit, client).await;
        });
        self.oldest_first.push_back(served);
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Who comes while all places are taken is served, and the oldest goes; nobody stays beyond the limit.
    #[tokio::test(start_paused = true)]
    async fn the_newest_has_a_place() {
        let (limit, served) = (Duration::from_secs(10), Arc::new(AtomicUsize::new(0)));
        let mut clients = Clients::default();
        for _ in 0..3 * MOST {
            clients.serve(limit, std::future::pending()).await;
        }
        assert_eq!(clients.oldest_first.iter().filter(|client| !client.is_finished()).count(), MOST);
        let count = Arc::clone(&served);
        clients.serve(limit, async move { _ = count.fetch_add(1, Ordering::Relaxed) }).await;
        tokio::time::sleep(limit + Duration::from_secs(1)).await;
        assert_eq!(served.load(Ordering::Relaxed), 1);
        assert!(clients.oldest_first.iter().all(AbortHandle::is_finished));
    }
}

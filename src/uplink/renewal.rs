//! Another connection, because the files that it stands on have been replaced.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::Aws;

/// Knows what certificate, key and authorities were when it was last asked.
#[derive(Debug)]
pub struct Renewal {
    asked: Arc<AtomicBool>,
    seen: u64,
}

impl Renewal {
    pub(super) async fn new(aws: &Aws, asked: Arc<AtomicBool>) -> Self {
        Renewal { asked, seen: digest(aws).await }
    }

    /// The files have become what they are by the bridge's own doing.
    pub async fn look(&mut self, aws: &Aws) {
        self.seen = digest(aws).await;
    }

    /// Has the uplink disconnect and connect with the files of `aws`, if what is in them is not what was in them before.
    /// Publishes in flight are sent again. Without a connection there is nothing to do: the files are read for each
    /// attempt.
    pub async fn ask_if_changed(&mut self, aws: &Aws) {
        let seen = digest(aws).await;
        if std::mem::replace(&mut self.seen, seen) != seen {
            tracing::info!("The certificates have changed; connecting with the new ones.");
            self.asked.store(true, Ordering::Relaxed);
        }
    }
}

/// Tells one content of the files from another, within this process. Files that can't be read are a content too.
async fn digest(aws: &Aws) -> u64 {
    let paths = [Some(aws.certificate.clone()), Some(aws.private_key.clone()), aws.root_ca.clone()];
    let reading = tokio::task::spawn_blocking(move || {
        let mut hasher = DefaultHasher::new();
        for path in paths.into_iter().flatten() {
            std::fs::read(path).ok().hash(&mut hasher);
        }
        hasher.finish()
    });
    reading.await.unwrap_or_default()
}

//! Another connection, because the files that it stands on have been replaced.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::broker;
use super::certificate::load;
use crate::config::Aws;
use crate::provisioning::{self, Standing};

/// Knows what certificate, key and authorities were when they were last taken.
#[derive(Debug)]
pub struct Renewal {
    asked: Arc<AtomicBool>,
    /// The configuration in force: other files take a restart.
    aws: Aws,
    seen: u64,
}

impl Renewal {
    pub(super) async fn new(aws: &Aws, asked: Arc<AtomicBool>) -> Self {
        Renewal { asked, aws: aws.clone(), seen: digest(aws).await }
    }

    /// Takes the files as they are now for known: after provisioning, which has written them, no reconnect follows.
    pub async fn remember(&mut self) {
        self.seen = digest(&self.aws).await;
    }

    /// Has the uplink disconnect and connect with the files as they are now, if what is in them is not what was in them
    /// before and a connection can be made with it. Publishes in flight are sent again.
    ///
    /// With files that are broken, expired, not valid yet or made for each other no more, a connection that stands is
    /// worth more: it is kept, and what is wrong is logged. Without a connection there is nothing to do, because the
    /// files are read for each attempt.
    pub async fn ask_if_changed(&mut self) {
        let seen = digest(&self.aws).await;
        // A robot that waits for its certificate has a connection with the claim, which none of the files concerns.
        if seen == self.seen || matches!(provisioning::standing(&self.aws), Some(Standing::Waiting)) {
            return;
        }
        if let (Err(fault), _) = load(&broker(&self.aws)).await {
            tracing::error!(
                reason = fault.kind.label(),
                "The certificates are not reloaded: {fault}. A connection that stands is kept, with those before."
            );
            return;
        }
        self.seen = seen;
        tracing::info!("The certificates have changed; connecting with the new ones.");
        self.asked.store(true, Ordering::Relaxed);
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

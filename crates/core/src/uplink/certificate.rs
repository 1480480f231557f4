//! The client certificate: read for each attempt, looked at again once an hour, and warned of before it expires.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rustls::ClientConfig;
use tokio::sync::watch;

use super::expiry::ExpiryWatch;
use super::state::UplinkState;
use crate::mqtt::tls::{self, Credentials};
use crate::mqtt::{Broker, Fault, FaultKind};

/// Looks after the certificate, and tells in the state when it expires.
#[derive(Debug)]
pub(super) struct CertificateWatch {
    broker: Broker,
    state: watch::Sender<UplinkState>,
    expiry: ExpiryWatch,
}

impl CertificateWatch {
    /// Of the files that `broker` names.
    pub fn new(broker: Broker, state: watch::Sender<UplinkState>) -> Self {
        CertificateWatch { broker, state, expiry: ExpiryWatch::default() }
    }

    /// Reads the files for an attempt.
    pub async fn load(&self) -> Result<Arc<ClientConfig>, Fault> {
        load_and_tell(&self.broker, &self.state).await
    }

    /// An attempt has been made at `now`, for which the files were read.
    pub fn attempted(&mut self, now: Instant) {
        self.expiry.has_read(now);
        self.warn(now);
    }

    /// A connection stands. To be called now and then.
    pub fn tick(&mut self, now: Instant) {
        if self.expiry.read_again(now) {
            let (broker, state) = (self.broker.clone(), self.state.clone());
            // What is wrong with the files is said at the next attempt.
            tokio::spawn(async move { load_and_tell(&broker, &state).await.is_ok() });
        }
        self.warn(now);
    }

    fn warn(&mut self, now: Instant) {
        let expires = self.state.borrow().certificate_expires;
        if let Some(expires) = expires {
            self.expiry.warn(expires, SystemTime::now(), now);
        }
    }
}

/// Reads the files, and notes when the certificate expires, also of one that can't be used.
async fn load_and_tell(broker: &Broker, state: &watch::Sender<UplinkState>) -> Result<Arc<ClientConfig>, Fault> {
    let (credentials, expires) = load(broker).await;
    if expires.is_some() {
        state.send_modify(|state| state.certificate_expires = expires);
    }
    Ok(credentials?.config)
}

/// Reads the files away from the task: they may lie on a disk that takes its time. Returns besides when the certificate
/// expires, if it can be read.
pub(super) async fn load(broker: &Broker) -> (Result<Credentials, Fault>, Option<SystemTime>) {
    let loading = tokio::task::spawn_blocking({
        let broker = broker.clone();
        move || {
            let loaded = tls::load(&broker, SystemTime::now());
            let expires = match &loaded {
                Ok(credentials) => Some(credentials.certificate_expires),
                Err(_) => tls::inspect(&broker, SystemTime::now()).certificate_expires,
            };
            (loaded.map_err(Fault::from), expires)
        }
    });
    loading.await.unwrap_or_else(|error| {
        (Err(Fault::new(FaultKind::Credentials, format!("the files could not be read: {error}"))), None)
    })
}

//! What the cloud has asked for, and what has become of it, by entry of the configuration.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use iot_bridge_core::tally::Outcomes;

/// The entries in force.
#[derive(Debug, Default)]
pub struct Requests(Mutex<Vec<Arc<RequestHealth>>>);

/// How it stands with one entry of `[[commands]]`, `[[services]]`, `[[actions]]` or `[[shadows]]`.
#[derive(Debug)]
pub struct RequestHealth {
    /// `command`, `service`, `action` or `shadow`.
    pub kind: &'static str,
    /// MQTT topic as configured: its name in metrics.
    pub mqtt: String,
    /// Name of the ROS topic, service or action.
    pub ros: String,
    /// Goes on counting when the entry changes.
    history: Arc<History>,
    now: Mutex<Standing>,
    shadow: Mutex<Option<ShadowStanding>>,
}

/// What is known of the requests of an entry, whatever else changes in it.
#[derive(Debug, Default)]
struct History {
    outcomes: Outcomes,
    last: Mutex<Last>,
}

/// The last requests of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Last {
    pub accepted: Option<LastAccepted>,
    pub refused: Option<LastRefused>,
}

/// The last request that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastAccepted {
    pub at: SystemTime,
    pub id: Option<String>,
}

/// The last request that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRefused {
    pub at: SystemTime,
    pub id: Option<String>,
    pub reason: &'static str,
    /// What is wrong, without any of the payload but names of fields.
    pub detail: String,
}

/// How it stands with the ROS side of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Who is there on ROS: subscribers of a command's topic, servers; `None` while nobody can tell.
    pub peers: Option<usize>,
    /// What keeps requests from being served, or some of those on ROS from getting them: a sentence without its full stop.
    pub trouble: Option<String>,
}

/// How it stands with a device shadow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShadowStanding {
    /// As far as it is known.
    pub version: Option<u64>,
    /// When an update was taken last.
    pub updated: Option<SystemTime>,
    /// When the last delta came.
    pub delta: Option<SystemTime>,
}

impl Requests {
    /// The entry that has come into force. One with the same `mqtt` that was in force before goes on counting in it.
    pub fn enter(&self, kind: &'static str, mqtt: &str, ros: &str) -> Arc<RequestHealth> {
        let (mqtt, ros) = (mqtt.to_owned(), ros.to_owned());
        let before = self.lock().iter().find(|known| known.mqtt == mqtt).map(|known| Arc::clone(&known.history));
        let (history, now, shadow) = (before.unwrap_or_default(), Mutex::default(), Mutex::default());
        Arc::new(RequestHealth { kind, mqtt, ros, history, now, shadow })
    }

    /// From now on these are in force.
    pub fn replace(&self, entries: Vec<Arc<RequestHealth>>) {
        *self.lock() = entries;
    }

    /// The entries in force, in the order of the configuration.
    pub fn read(&self) -> Vec<Arc<RequestHealth>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<RequestHealth>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RequestHealth {
    /// A request has been accepted, or has come to a good end; counted as `outcome`.
    pub fn accepted(&self, outcome: &'static str, id: Option<&str>) {
        self.history.outcomes.count(outcome);
        self.last_mut().accepted = Some(LastAccepted { at: SystemTime::now(), id: id.map(str::to_owned) });
    }

    /// A request has been refused, or has come to no good end; counted as `reason`. `detail` is shown, so it has nothing of
    /// the payload but names of fields. Returns how many have ended so.
    pub fn refused(&self, reason: &'static str, detail: &str, id: Option<&str>) -> u64 {
        let (id, detail) = (id.map(str::to_owned), detail.to_owned());
        self.last_mut().refused = Some(LastRefused { at: SystemTime::now(), id, reason, detail });
        self.history.outcomes.count(reason)
    }

    /// Who is there on ROS, and what is wrong with it.
    pub fn stands(&self, standing: Standing) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    pub fn standing(&self) -> Standing {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How it stands with the device shadow that it is.
    pub fn set_shadow(&self, shadow: ShadowStanding) {
        *self.shadow.lock().unwrap_or_else(PoisonError::into_inner) = Some(shadow);
    }

    /// `None` if it is no shadow.
    pub fn shadow(&self) -> Option<ShadowStanding> {
        self.shadow.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What has become of requests.
    pub fn outcomes(&self) -> &Outcomes {
        &self.history.outcomes
    }

    pub fn last(&self) -> Last {
        self.last_mut().clone()
    }

    fn last_mut(&self) -> MutexGuard<'_, Last> {
        self.history.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry that changes goes on counting; one that is taken out and put in again begins anew.
    #[test]
    fn an_entry_that_changes_goes_on_counting() {
        let requests = Requests::default();
        let before = requests.enter("command", "a", "/a");
        requests.replace(vec![Arc::clone(&before)]);
        before.accepted("accepted", Some("1"));
        let after = requests.enter("command", "a", "/other");
        requests.replace(vec![Arc::clone(&after)]);
        assert_eq!(after.refused("too_fast", "", None), 1);
        assert_eq!(after.outcomes().read().into_iter().collect::<Vec<_>>(), [("accepted", 1), ("too_fast", 1)]);
        let last = after.last();
        assert_eq!(last.accepted.unwrap().id.as_deref(), Some("1"));
        assert_eq!(last.refused.unwrap().reason, "too_fast");
        requests.replace(vec![]);
        assert!(requests.enter("command", "a", "/a").outcomes().read().is_empty());
    }
}

//! Which filters are subscribed to, and which of them the broker does not take.
//!
//! A connection begins without any. What is wanted is asked for in SUBSCRIBEs of up to [`PER_SUBSCRIBE`] filters, one
//! after the other, each when nothing else is in flight; nothing else is sent until its SUBACK is there, for at most
//! [`PATIENCE`]. So what the broker closes the connection over is known: AWS IoT Core does that in MQTT 3.1.1 with a filter
//! that the policy does not allow, without saying which.
//!
//! ```text
//!            SUBACK takes it ──────────────────────────────► Granted, until the connection ends
//!              │
//!   Wanted ────┼─ SUBACK refuses it, or there is none ─────► Aside: waits for 30 s, 1 min, … 1 h, then asked for alone
//!      ▲       │
//!      │       └─ closed ──► Suspect: asked for alone ─ closed twice ──► Aside: waits for 10 min, 20 min, … 1 h
//!      │
//!      └── the connection ends
//! ```
//!
//! An example: of `a`, `b` and `c` the policy does not allow `b`. All three are asked for, and the connection is closed:
//! suspects. On the next `a` is granted; `b` is asked for, closed; on the third `a` and `c` are granted, and last `b`, closed
//! once more: aside. From the fourth on `a` and `c` are asked for together, and telemetry flows. `b` is asked for again
//! after 10 min, 20 min, and so on up to once an hour, because that may cost the connection. Where the SUBACK says no, as
//! in MQTT 5, it costs nothing, and is tried from 30 s on.
//!
//! Links break, too. A filter is aside only after three closes upon it, two of them with nothing else asked for.
//!
//! Nothing is sent while a SUBACK is waited for, nor before that, until what is in flight is answered. So that telemetry flows whatever the broker does, that is bounded for all
//! filters of a connection together:
//!
//! - **No answer.** After five seconds without a SUBACK no more is asked for 30 s, 1 min, … 1 h, unless the SUBACK comes after
//!   all: then as long as nothing was sent. With 50 filters and a broker that never answers, telemetry waits for 5 s after the connect, and for 5 s out of each
//!   of these times.
//! - **Slow answers.** Once all waits of the connection are 5 s together, as many follow without one after each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::Qos;
use crate::mqtt::client::Reason;

/// A filter to subscribe to, and with which QoS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// An MQTT topic filter. `{thing}` in it is the thing's name.
    pub filter: String,
    /// The highest QoS with which something may come.
    pub qos: Qos,
}

/// Filters of a SUBSCRIBE ("AWS IoT Core message broker and protocol limits and quotas").
pub const PER_SUBSCRIBE: usize = 8;

/// Longest wait for a SUBACK, during which nothing else is sent, and for as many of them as come within that time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Closes upon a filter that is asked for alone, after one upon it in whatever company, until it is set aside.
const FORBIDDEN: u32 = 2;

/// How long a filter is set aside at first, and at most. Each time doubles it.
const ASIDE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));

/// The same if asking again may cost the connection.
const ASIDE_FOR_A_CLOSE: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(3600));

/// What is wanted, and how each stands, over all connections.
#[derive(Debug, Default)]
pub(super) struct Filters {
    filters: BTreeMap<String, Filter>,
    /// The SUBSCRIBE that nothing is sent beside.
    asked: Option<Asked>,
    /// Those of this connection that were not answered in time.
    unanswered: Vec<Asked>,
    /// Since when nothing is sent, so that the next SUBSCRIBE is alone.
    held_since: Option<Instant>,
    waits: Waits,
}

/// For how long nothing was sent on a connection because of SUBSCRIBEs: until nothing was in flight, and then until the SUBACK.
#[derive(Debug, Default)]
struct Waits {
    in_all: Duration,
    /// SUBSCRIBEs in a row without an answer in time.
    silent: u32,
    /// Nothing is asked for until then.
    pause_until: Option<Instant>,
}

impl Waits {
    fn allow(&self, now: Instant) -> bool {
        self.pause_until.is_none_or(|until| until <= now)
    }

    /// A SUBACK has come at `now`, after `took`.
    fn answered(&mut self, took: Duration, now: Instant) {
        self.in_all += took;
        self.silent = 0;
        self.pause_until = (self.in_all > PATIENCE).then(|| now + took);
    }

    /// One has not come within [`PATIENCE`]; nothing was sent for as long as `took`.
    fn unanswered(&mut self, took: Duration, now: Instant) {
        self.in_all += took;
        self.pause_until = Some(now + doubled(ASIDE, self.silent));
        self.silent += 1;
    }

    /// One has come that was not waited for any more. What was sent in between counts as the pause after the wait for it.
    fn answered_late(&mut self, asked: &Asked) {
        let given_up = asked.at + PATIENCE;
        self.silent = 0;
        self.pause_until = Some(given_up + given_up.saturating_duration_since(asked.held_since));
    }
}

/// The first of two times, doubled so often, but at most the second.
fn doubled((first, most): (Duration, Duration), times: u32) -> Duration {
    (first * 2u32.saturating_pow(times.min(16))).min(most)
}

#[derive(Debug)]
struct Filter {
    qos: Qos,
    standing: Standing,
    /// Closes in a row while it was asked for alone.
    closes: u32,
    /// How often in a row it was set aside.
    times_aside: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// To be asked for, with others.
    Wanted,
    /// Asked for when the connection was closed; to be asked for alone.
    Suspect,
    /// Subscribed to, on this connection.
    Granted,
    /// Not asked for until then, and then alone.
    Aside { until: Instant },
}

#[derive(Debug)]
struct Asked {
    packet_id: u16,
    filters: Vec<String>,
    /// Since when nothing else was sent.
    held_since: Instant,
    at: Instant,
}

/// What is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// The broker does not take the filter, for this reason, and is asked again after `wait`.
    Refused { filter: String, why: Why, wait: Duration },
    /// It takes a filter that it did not take before.
    Granted { filter: String },
}

/// How the broker does not take a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The SUBACK says so. In MQTT 3.1.1 the reason is 0x80 whatever it is.
    Said(Reason),
    /// It closes the connection.
    Closes,
    /// There is no SUBACK.
    Silent,
}

/// Whether the connection was closed over a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    None,
    /// One was under way, and nothing else.
    Likely,
    /// So it seems again and again, upon one filter.
    Certain,
}

impl Filters {
    /// These are wanted from now on; of one that is there twice, the higher QoS. Returns those that are subscribed to and not
    /// wanted any more.
    pub fn want(&mut self, wanted: &[Subscription]) -> Vec<String> {
        let mut once: BTreeMap<&str, Qos> = BTreeMap::new();
        for Subscription { filter, qos } in wanted {
            once.entry(filter).and_modify(|known| *known = (*known).max(*qos)).or_insert(*qos);
        }
        let gone: Vec<String> = self
            .filters
            .extract_if(.., |filter, _| !once.contains_key(&**filter))
            .filter_map(|(filter, known)| (known.standing == Standing::Granted).then_some(filter))
            .collect();
        for (filter, qos) in once {
            let fresh = || Filter { qos, standing: Standing::Wanted, closes: 0, times_aside: 0 };
            let known = self.filters.entry(filter.to_owned()).or_insert_with(fresh);
            if known.qos != qos {
                // Another SUBSCRIBE takes the place of the one before.
                *known = fresh();
            }
        }
        gone
    }

    /// Whether a SUBSCRIBE is under way, beside which nothing is sent.
    pub fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// What the next SUBSCRIBE asks for; `None` if there is nothing to be asked for at `now`.
    pub fn next(&self, now: Instant) -> Option<Vec<(String, Qos)>> {
        if !self.waits.allow(now) {
            return None;
        }
        let of = |wanted: &dyn Fn(Standing) -> bool, most: usize| {
            let found = self.filters.iter().filter(|(_, known)| wanted(known.standing)).take(most);
            let found: Vec<_> = found.map(|(filter, known)| (filter.clone(), known.qos)).collect();
            (!found.is_empty()).then_some(found)
        };
        let is_due = |standing| matches!(standing, Standing::Aside { until } if until <= now);
        let wanted = of(&|standing| standing == Standing::Wanted, PER_SUBSCRIBE);
        // Those that were closed over less often first: they are the more likely to be granted.
        let suspect = || {
            let suspects = self.filters.iter().filter(|(_, known)| known.standing == Standing::Suspect);
            let (filter, known) = suspects.min_by_key(|(_, known)| known.closes)?;
            Some(vec![(filter.clone(), known.qos)])
        };
        wanted.or_else(suspect).or_else(|| of(&is_due, 1))
    }

    /// A SUBSCRIBE for `filters` is under way.
    pub fn asked(&mut self, packet_id: u16, filters: Vec<(String, Qos)>, now: Instant) {
        let filters = filters.into_iter().map(|(filter, _)| filter).collect();
        let held_since = self.held_since.take().unwrap_or(now);
        self.asked = Some(Asked { packet_id, filters, held_since, at: now });
    }

    /// Whether from `now` on, or longer, nothing else is sent, so that the next SUBSCRIBE is alone.
    pub fn hold(&mut self, holds: bool, now: Instant) {
        self.held_since = holds.then(|| self.held_since.unwrap_or(now));
    }

    /// A SUBACK has come, with an answer for each filter in turn. A filter without one is refused.
    pub fn answered(&mut self, packet_id: u16, answers: &[Result<Qos, Reason>], now: Instant) -> Vec<News> {
        let is_it = |asked: &mut Asked| asked.packet_id == packet_id;
        let filters = if let Some(Asked { filters, held_since, .. }) = self.asked.take_if(is_it) {
            self.waits.answered(now.saturating_duration_since(held_since), now);
            filters
        } else if let Some(asked) = self.unanswered.extract_if(.., is_it).next() {
            self.waits.answered_late(&asked);
            asked.filters
        } else {
            return Vec::new();
        };
        let answers = answers.iter().copied().chain(std::iter::repeat(Err(Reason::UNSPECIFIED)));
        filters.into_iter().zip(answers).filter_map(|(filter, answer)| self.note(filter, answer, now)).collect()
    }

    fn note(&mut self, filter: String, answer: Result<Qos, Reason>, now: Instant) -> Option<News> {
        let known = self.filters.get_mut(&filter)?;
        match answer {
            Ok(_) => {
                let was_aside = known.times_aside > 0;
                *known = Filter { qos: known.qos, standing: Standing::Granted, closes: 0, times_aside: 0 };
                was_aside.then_some(News::Granted { filter })
            }
            Err(reason) => Some(known.set_aside(filter, Why::Said(reason), now)),
        }
    }

    /// Stops waiting for a SUBACK that does not come. To be called several times a second.
    pub fn tick(&mut self, now: Instant) -> Vec<News> {
        let is_late = |asked: &mut Asked| now.saturating_duration_since(asked.at) >= PATIENCE;
        let Some(asked) = self.asked.take_if(is_late) else { return Vec::new() };
        let silent = |filter: &String| Some(self.filters.get_mut(filter)?.set_aside(filter.clone(), Why::Silent, now));
        let news = asked.filters.iter().filter_map(silent).collect();
        self.waits.unanswered(now.saturating_duration_since(asked.held_since), now);
        // The SUBACK may still come.
        self.unanswered.push(asked);
        news
    }

    /// The connection has ended at `now`; `closed` says whether by the broker.
    pub fn connection_ended(&mut self, closed: bool, now: Instant) -> (Blame, Vec<News>) {
        self.unanswered.clear();
        (self.held_since, self.waits) = (None, Waits::default());
        for known in self.filters.values_mut().filter(|known| known.standing == Standing::Granted) {
            known.standing = Standing::Wanted;
        }
        let Some(Asked { filters, .. }) = self.asked.take().filter(|_| closed) else {
            return (Blame::None, Vec::new());
        };
        let (mut blame, mut news) = (Blame::Likely, Vec::new());
        for filter in filters {
            let Some(known) = self.filters.get_mut(&filter) else { continue };
            known.closes += u32::from(known.standing != Standing::Wanted);
            if matches!(known.standing, Standing::Aside { .. }) || known.closes >= FORBIDDEN {
                blame = Blame::Certain;
                news.push(known.set_aside(filter, Why::Closes, now));
            } else {
                known.standing = Standing::Suspect;
            }
        }
        (blame, news)
    }

    /// The filters that the broker does not take, or that are not asked for because it does not answer.
    pub fn refused(&self) -> Vec<String> {
        let (silent, granted) = (self.waits.silent > 0, Standing::Granted);
        let is_aside = |known: &Filter| (known.times_aside > 0 || silent) && known.standing != granted;
        self.filters.iter().filter(|(_, known)| is_aside(known)).map(|(filter, _)| filter.clone()).collect()
    }
}

impl Filter {
    fn set_aside(&mut self, filter: String, why: Why, now: Instant) -> News {
        let wait = doubled(if why == Why::Closes { ASIDE_FOR_A_CLOSE } else { ASIDE }, self.times_aside);
        self.times_aside += 1;
        self.standing = Standing::Aside { until: now + wait };
        News::Refused { filter, why, wait }
    }
}

#[cfg(test)]
mod tests;

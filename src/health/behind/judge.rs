//! The judge: fed about once a second with what the topics have counted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::advice;
use super::offer::{Flow, Offer, Passed};
use crate::health::TopicHealth;
use crate::health::report::{Behind, Limit};
use iot_bridge_core::config::Quotas;
use iot_bridge_core::tally::{DropReason, TopicCounters};

/// The time whose least backlog counts.
const SPAN: Duration = Duration::from_secs(10);

/// In so many spans in a row it has to rise: what grows for less than three may do so in parts of four.
const RISES: usize = 4;

/// The figures are those of so many spans.
const FIGURES: usize = 3;

/// For so many spans it may not rise until it is over.
const QUIET: usize = 6;

/// It rises if it does by so many records, and by this part of what left meanwhile: noise does not count.
const LEAST_RISE: u64 = 10;
const LEAST_SHARE: u64 = 100;

/// A quota is what holds the records back if so much of it was used: a round trip of 200 ms leaves a fifth unused.
const USED: f64 = 0.8;

/// Topics that are named: until they make up this share of what is offered, and no more than so many.
const MOST: f64 = 0.8;
const NAMED: usize = 5;

/// Judges whether the bridge falls behind.
#[derive(Debug)]
pub struct Judge {
    span: Duration,
    /// Of this connection, the oldest first.
    spans: VecDeque<Span>,
    current: Option<Current>,
    behind: Option<Standing>,
}

/// What there is to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    Begins(Behind),
    /// After so long.
    Over(Duration),
}

/// The span that lasts.
#[derive(Debug)]
struct Current {
    started: Instant,
    least: u64,
}

/// One that is over.
#[derive(Debug)]
struct Span {
    ended: Instant,
    /// The least backlog in it.
    least: u64,
    /// What has passed up to its end.
    passed: Vec<(Arc<TopicCounters>, Passed)>,
}

/// That it is behind.
#[derive(Debug)]
struct Standing {
    since: Instant,
    /// Of when the backlog rose last.
    told: Behind,
    /// The backlog of then; nothing is above it before a connection has shown that it still rises.
    highest: u64,
    /// Spans since then.
    quiet: usize,
    /// There was an outage since then.
    is_hidden: bool,
}

impl Default for Judge {
    fn default() -> Judge {
        Judge::with_span(SPAN)
    }
}

impl Judge {
    /// With other spans than those of 10 s, for tests, which can't wait.
    pub fn with_span(span: Duration) -> Judge {
        Judge { span, spans: VecDeque::new(), current: None, behind: None }
    }

    /// How it stands with a connection whose bounds are `quotas`; `None` while it keeps up or there is no connection.
    pub fn behind(&self) -> Option<&Behind> {
        self.behind.as_ref().filter(|standing| !standing.is_hidden).map(|standing| &standing.told)
    }

    /// There is no connection.
    pub fn disconnected(&mut self) {
        self.spans.clear();
        self.current = None;
        if let Some(standing) = &mut self.behind {
            (standing.is_hidden, standing.highest, standing.quiet) = (true, u64::MAX, 0);
        }
    }

    /// Looks at `topics`, which are those that may be sent, while there is a connection with `quotas`. Returns what has
    /// changed by it.
    pub fn look(&mut self, now: Instant, quotas: &Quotas, topics: &[Arc<TopicHealth>]) -> Option<News> {
        // Of those that are counted together one.
        let mut seen = HashSet::with_capacity(topics.len());
        let topics: Vec<_> = topics.iter().filter(|topic| seen.insert(Arc::as_ptr(&topic.counters))).collect();
        let backlog = topics.iter().map(|topic| backlog(topic)).sum();
        let current = self.current.get_or_insert(Current { started: now, least: backlog });
        current.least = current.least.min(backlog);
        if now.saturating_duration_since(current.started) < self.span {
            return None;
        }
        let passed = topics.iter().map(|topic| (Arc::clone(&topic.counters), Passed::of(&topic.counters)));
        let span = Span { ended: now, least: current.least, passed: passed.collect() };
        *current = Current { started: now, least: backlog };
        if span.least > 0 && self.spans.back().is_some_and(|before| !leaves_something(before, &span)) {
            return None;
        }
        self.spans.push_back(span);
        while self.spans.len() > RISES + 1 {
            self.spans.pop_front();
        }
        self.judge(now, quotas, &topics)
    }

    fn judge(&mut self, now: Instant, quotas: &Quotas, topics: &[&Arc<TopicHealth>]) -> Option<News> {
        let least = self.spans.back()?.least;
        let rises = self.rises();
        match &mut self.behind {
            None if !rises => None,
            None => {
                let (grown, told) = (self.span * FIGURES as u32, self.figures(quotas, topics)?);
                let since = now.checked_sub(grown).unwrap_or(now);
                let told = Behind { since: seconds_ago(grown), ..told };
                self.behind = Some(Standing { since, told: told.clone(), highest: least, quiet: 0, is_hidden: false });
                Some(News::Begins(told))
            }
            Some(standing) if rises || least > standing.highest => {
                (standing.highest, standing.quiet, standing.is_hidden) = (least, 0, false);
                let since = standing.told.since;
                let told = self.figures(quotas, topics)?;
                if let Some(standing) = &mut self.behind {
                    standing.told = Behind { since, ..told };
                }
                None
            }
            Some(standing) => {
                standing.quiet += 1;
                if standing.quiet < QUIET {
                    return None;
                }
                let lasted = now.saturating_duration_since(standing.since);
                self.behind = None;
                Some(News::Over(lasted))
            }
        }
    }

    /// Whether the least backlog has risen in each of the last spans.
    fn rises(&self) -> bool {
        let (Some(first), Some(last)) = (self.spans.front(), self.spans.back()) else { return false };
        let rise = last.least.saturating_sub(first.least);
        let left: u64 = differences(first, last).map(|(_, passed)| passed.sent).sum();
        self.spans.len() > RISES
            && self.spans.iter().zip(self.spans.iter().skip(1)).all(|(one, next)| next.least > one.least)
            && rise >= LEAST_RISE.max(left / LEAST_SHARE)
    }

    /// What was offered and what left in the last spans. Without its time.
    fn figures(&self, quotas: &Quotas, topics: &[&Arc<TopicHealth>]) -> Option<Behind> {
        let (first, last) = (self.spans.iter().nth_back(FIGURES)?, self.spans.back()?);
        let time = last.ended.saturating_duration_since(first.ended);
        let passed: HashMap<_, _> = differences(first, last).collect();
        let ever: HashMap<_, _> =
            last.passed.iter().map(|(counters, passed)| (Arc::as_ptr(counters), *passed)).collect();
        let offers = topics.iter().filter_map(|topic| {
            let key = Arc::as_ptr(&topic.counters);
            Some(Offer::of(topic, *passed.get(&key)?, *ever.get(&key)?, time))
        });
        let mut offers: Vec<_> = offers.filter(|offer| offer.records > 0.0).collect();
        let offered: Flow = offers.iter().map(Offer::flow).sum();
        let left = |figure: fn(&Passed) -> u64| passed.values().map(figure).sum::<u64>() as f64 / time.as_secs_f64();
        let left = Flow { publishes: left(|passed| passed.publishes), bytes: left(|passed| passed.bytes) };
        let quota = (quotas.publishes_per_second.map(f64::from), quotas.bytes_per_second.map(|bytes| bytes as f64));
        let limit = limit(quota, offered, left);
        let (publishes, bytes) = match limit {
            Limit::Link => (Some(left.publishes), Some(left.bytes)),
            Limit::PublishesPerSecond | Limit::BytesPerSecond => quota,
        };
        let share = |offer: &Offer| match limit {
            Limit::PublishesPerSecond => offer.flow().publishes / offered.publishes,
            Limit::BytesPerSecond => offer.flow().bytes / offered.bytes,
            Limit::Link => offer.flow().share(offered),
        };
        offers.sort_by(|one, other| share(other).total_cmp(&share(one)));
        let mut sum = 0.0;
        let named = offers.iter().take_while(|offer| {
            let goes_on = sum < MOST;
            sum += share(offer);
            goes_on
        });
        let named: Vec<_> = named.take(NAMED).collect();
        let mut names = Vec::new();
        for offer in &named {
            if !names.contains(&offer.ros) {
                names.push(offer.ros.clone());
            }
        }
        let allowed = match limit {
            Limit::PublishesPerSecond => quota.0.unwrap_or_default() / offered.publishes,
            Limit::BytesPerSecond => quota.1.unwrap_or_default() / offered.bytes,
            Limit::Link => 1.0 / offered.share(left).max(1.0),
        };
        let theirs = named.iter().map(|offer| share(offer)).sum::<f64>().min(1.0);
        let keep = advice::keep(allowed, theirs);
        Some(Behind {
            since: 0,
            limit,
            offered_publishes_per_second: offered.publishes,
            allowed_publishes_per_second: publishes,
            offered_bytes_per_second: offered.bytes,
            allowed_bytes_per_second: bytes,
            topics: names,
            advice: named.iter().map(|offer| advice::advice(offer, limit, keep)).collect(),
        })
    }
}

/// What has passed of each topic from the end of one span to that of another.
fn differences<'a>(first: &'a Span, last: &'a Span) -> impl Iterator<Item = (*const TopicCounters, Passed)> + 'a {
    let before: HashMap<_, _> =
        first.passed.iter().map(|(counters, passed)| (Arc::as_ptr(counters), *passed)).collect();
    last.passed.iter().filter_map(move |(counters, passed)| {
        let key = Arc::as_ptr(counters);
        Some((key, passed.since(*before.get(&key)?)))
    })
}

/// Whether a record has left from the end of one span to that of another.
fn leaves_something(first: &Span, last: &Span) -> bool {
    differences(first, last).any(|(_, passed)| passed.sent > 0)
}

/// What keeps the records from leaving.
fn limit((publishes, bytes): (Option<f64>, Option<f64>), offered: Flow, left: Flow) -> Limit {
    // How much of a quota was used, if more is offered than it allows.
    let used = |quota: Option<f64>, offered: f64, left: f64| {
        quota.filter(|quota| offered > *quota).map_or(0.0, |quota| left / quota)
    };
    let publishes = used(publishes, offered.publishes, left.publishes);
    let bytes = used(bytes, offered.bytes, left.bytes);
    match publishes.max(bytes) {
        most if most < USED => Limit::Link,
        most if most == publishes => Limit::PublishesPerSecond,
        _ => Limit::BytesPerSecond,
    }
}

/// The records of `topic` that wait and should not, those that did until they were dropped included.
fn backlog(topic: &TopicHealth) -> u64 {
    let counters = &topic.counters;
    let waiting = counters.queued().saturating_sub(topic.sending.lingering());
    waiting + counters.dropped(DropReason::Overflow) + counters.dropped(DropReason::Expired)
}

/// Whole seconds since 1970.
fn seconds_ago(time: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(time).as_secs()
}

#[cfg(test)]
mod tests;

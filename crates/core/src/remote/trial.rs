//! A configuration on trial: confirmed, or rolled back.

use std::time::{Duration, Instant};

use crate::config::units::format_duration;

/// How long all topics have to be forbidden, without a break, before the trial ends for that: others may appear meanwhile.
const SETTLED: Duration = Duration::from_secs(10);

/// What was acknowledged is on trial for this long at least, or for a quarter of `confirm` if that is shorter: what ends the
/// process at one of its first messages counts against it.
const SHORTEST: Duration = Duration::from_secs(10);

/// The report may take this long at least: it is sent within seconds, and again after a time-out and a back-off.
const SHORTEST_REPORT: Duration = Duration::from_secs(30);

/// Most topics that a reason names.
const MOST_NAMES: usize = 5;

/// A configuration that is in force and not confirmed.
#[derive(Debug)]
pub struct Trial {
    began: Instant,
    confirm: Duration,
    looked: Instant,
    /// For how long there was no connection.
    offline: Duration,
    /// Since when all of its topics have been forbidden.
    forbidden: Option<Instant>,
    /// Since when the report has to be acknowledged.
    reporting: Option<Instant>,
    /// Something was acknowledged.
    is_proven: bool,
}

/// What has become of the topics of a configuration on trial since it began.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// [`Trial::began`] of the trial that it is of. That of another is ignored.
    pub began: Instant,
    /// Whether the connection stands.
    pub is_connected: bool,
    /// Those that the wish makes: all topics in force if it sets `topics`, none otherwise. An entry with a pattern that has
    /// found no topic yet is one as well.
    pub topics: Vec<TopicEvidence>,
}

/// What has become of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicEvidence {
    /// As people know it.
    pub name: String,
    /// A record of it with `qos = 1` was admitted since the trial began. What has `qos = 0` is never acknowledged and says
    /// nothing.
    pub had_record: bool,
    /// A record of it that was admitted since the trial began has had a PUBACK that says success.
    pub is_acknowledged: bool,
    /// It is set aside because the broker does not take it: the policy forbids it.
    pub is_forbidden: bool,
}

/// How a trial stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It goes on.
    Open,
    /// It goes on, and the report has to be acknowledged: none of the topics has had a record.
    NeedsReport,
    /// Something was acknowledged.
    Proven,
    /// It has failed for this reason, a sentence.
    Failed(String),
}

impl Trial {
    /// One that begins.
    pub(super) fn new(confirm: Duration, now: Instant) -> Trial {
        Trial {
            began: now,
            confirm,
            looked: now,
            offline: Duration::ZERO,
            forbidden: None,
            reporting: None,
            is_proven: false,
        }
    }

    /// When it came into force, in this process: records count that were admitted since then.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Until when something has to be acknowledged.
    pub fn until(&self) -> Instant {
        self.reporting.map_or(self.began + self.confirm, |since| since + self.report_within())
    }

    /// How long the report may take.
    fn report_within(&self) -> Duration {
        self.confirm.max(SHORTEST_REPORT)
    }

    /// When the last evidence came.
    pub(super) fn looked(&self) -> Instant {
        self.looked
    }

    #[cfg(test)]
    pub(super) fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Whether it ends well at `now`: something was acknowledged, and the process has lived with it for long enough.
    pub(super) fn has_passed(&self, now: Instant) -> bool {
        self.is_proven && now >= self.began + SHORTEST.min(self.confirm / 4)
    }

    /// The report was acknowledged.
    pub(super) fn report_acked(&mut self) {
        self.is_proven |= self.reporting.is_some();
    }

    /// Decides by what is known at `now`.
    pub(super) fn judge(&mut self, evidence: &Evidence, now: Instant) -> Judgement {
        if !evidence.is_connected {
            self.offline += now.saturating_duration_since(self.looked);
        }
        self.looked = self.looked.max(now);
        let topics = &evidence.topics;
        self.is_proven |= topics.iter().any(|topic| topic.is_acknowledged);
        if self.is_proven {
            return Judgement::Proven;
        }
        if topics.is_empty() || !topics.iter().all(|topic| topic.is_forbidden) {
            self.forbidden = None;
        } else if now >= *self.forbidden.get_or_insert(now) + SETTLED.min(self.confirm) {
            return Judgement::Failed(forbidden(topics));
        }
        if now < self.until() {
            return Judgement::Open;
        }
        if self.reporting.is_some() {
            let (within, report) = (format_duration(self.confirm), format_duration(self.report_within()));
            let without_connection = self.without_connection();
            return Judgement::Failed(format!(
                "None of its topics had a record within {within}, and the report was not acknowledged within {report} \
                 after that{without_connection}."
            ));
        }
        let mut spoke = topics.iter().filter(|topic| topic.had_record || topic.is_forbidden).peekable();
        if spoke.peek().is_none() {
            self.reporting = Some(now);
            return Judgement::NeedsReport;
        }
        if spoke.all(|topic| topic.is_forbidden) {
            return Judgement::Failed(forbidden(topics));
        }
        let within = format_duration(self.confirm);
        Judgement::Failed(format!("Nothing was acknowledged within {within}{}.", self.without_connection()))
    }

    /// The part of a sentence that says for how long there was no connection.
    fn without_connection(&self) -> String {
        match Duration::from_secs(self.offline.as_secs()) {
            Duration::ZERO => String::new(),
            offline => format!("; there was no connection for {} of it", format_duration(offline)),
        }
    }
}

/// The sentence that names the forbidden ones of `topics`.
fn forbidden(topics: &[TopicEvidence]) -> String {
    let mut names: Vec<_> = topics.iter().filter(|topic| topic.is_forbidden).map(|topic| topic.name.as_str()).collect();
    let more = names.len().saturating_sub(MOST_NAMES);
    names.truncate(MOST_NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("The broker takes none of its topics: the policy has to allow publishing to {}{more}.", names.join(", "))
}

#[cfg(test)]
mod tests;

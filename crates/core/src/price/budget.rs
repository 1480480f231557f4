//! Which lines of configuration bring the sum below a budget.
//!
//! Nobody but the robot's owner knows what matters, so the rule is a plain one. Lines are added in five rounds, in the order of
//! what they take away. Each round begins with the dearest topic and ends as soon as the sum is below:
//!
//! 1. `batch` with a `linger` of at most 10 s: messages come later, in an array.
//! 2. `compression = "zstd"` and a `linger` of at most a minute: subscribers have to expand it.
//! 3. `exclude` of fields whose names end with `covariance`.
//! 4. `rate`: the dearest topic gets the next lower of 50, 20, 10, 5, 2, 1, 0.5, 0.2 and 0.1 Hz, again and again: the messages
//!    between do not travel.
//! 5. The dearest topic is left out.
//!
//! At the end what turns out not to be needed is taken back, from the cheapest topic on: the last line of a topic first.
//!
//! A line that saves nothing is not added. What a topic's entry says already stays, unless a line takes its place. Topics with
//! `retain` or the payload `"cdr"` get no `batch`; those with `every` or `window` no `rate`.

use std::time::Duration;

use super::bill::Bill;
use super::forecast::{Forecast, Observed};
use super::{Prices, STEP};
use crate::codec::{Count, Kind, Schema};
use crate::config::units::format_duration;
use crate::config::{self, Batch, Encoding, Mqtt, Payload};

/// Rates that are proposed, in hertz.
const RATES: [f64; 9] = [50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1];

/// Longest `linger` of the first round, and of those after it.
const LINGER: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];

/// A batch is made for records a little larger than those that were seen.
const MARGIN: f64 = 1.03;

/// A line has to save as much of what its topic costs.
const WORTH: f64 = 0.02;

/// A topic, as it is to be forwarded now.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    pub topic: config::Topic,
    pub observed: &'a Observed,
    forecast: Forecast,
    lost: Vec<Lost>,
}

/// What a line takes away.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lost {
    Time(Duration),
    Expanding,
    Covariances,
    /// Of so many messages a second, so many travel.
    Messages(f64, f64),
}

impl Lost {
    fn words(self) -> String {
        match self {
            Lost::Time(linger) => format!("comes up to {} later, in JSON arrays", format_duration(linger)),
            Lost::Expanding => "subscribers have to expand zstd".to_owned(),
            Lost::Covariances => "without covariances".to_owned(),
            Lost::Messages(before, after) => format!("{after} instead of {before:.1} messages a second"),
        }
    }

    /// Whether a later one of the same kind takes its place.
    fn is_like(self, other: Lost) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl<'a> Subject<'a> {
    /// # Errors
    /// As [`Forecast::of`].
    pub fn new(topic: config::Topic, thing: &str, observed: &'a Observed) -> Result<Subject<'a>, String> {
        let forecast = Forecast::of(&topic, thing, observed)?;
        Ok(Subject { topic, observed, forecast, lost: Vec::new() })
    }

    /// What it would send.
    pub fn forecast(&self) -> &Forecast {
        &self.forecast
    }
}

/// Lines of configuration that bring the sum below a budget.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Each topic that goes on, in the order of the subjects.
    pub topics: Vec<Proposed>,
    pub left_out: Vec<LeftOut>,
    /// Of what goes on.
    pub bill: Bill,
}

/// A topic as it is proposed.
#[derive(Debug, Clone)]
pub struct Proposed {
    pub topic: config::Topic,
    /// Dollars a month as it was, and as it is proposed.
    pub dollars: [f64; 2],
    /// What is lost by it, in words; nothing, if it stays as it was.
    pub lost: Vec<String>,
}

/// A topic that is too dear.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    pub ros: String,
    /// Dollars a month as it was.
    pub dollars: f64,
}

/// The budget does not pay for the connection.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the connection alone costs ${connection:.4} a month")]
pub struct TooDear {
    pub connection: f64,
}

/// Says how to forward `subjects` for at most `dollars` a month.
///
/// # Errors
/// [`TooDear`] if that is not even enough for nothing.
pub fn propose(
    subjects: Vec<Subject<'_>>,
    thing: &str,
    mqtt: &Mqtt,
    prices: &Prices,
    dollars: f64,
) -> Result<Proposal, TooDear> {
    let connection = prices.connection_month();
    if dollars < connection {
        return Err(TooDear { connection });
    }
    let topics = subjects.into_iter().map(|subject| Steps { steps: vec![subject], is_left_out: false }).collect();
    let mut search = Search { thing, mqtt, prices, dollars, topics };
    let before = search.bill().1;
    search.add_to_each(|subject, search| search.batched(subject, LINGER[0], false));
    search.add_to_each(|subject, search| search.batched(subject, LINGER[1], true));
    search.add_to_each(|subject, search| search.without_covariances(subject));
    search.thin_out();
    search.leave_out();
    search.take_back(&before);
    let (bill, after) = search.bill();
    let (mut topics, mut left_out) = (Vec::new(), Vec::new());
    for (at, Steps { mut steps, is_left_out }) in search.topics.into_iter().enumerate() {
        let Some(Subject { topic, lost, .. }) = steps.pop() else { continue };
        if is_left_out {
            left_out.push(LeftOut { ros: topic.ros, dollars: before[at] });
            continue;
        }
        let lost = lost.into_iter().map(Lost::words).collect();
        topics.push(Proposed { topic, dollars: [before[at], after[at]], lost });
    }
    Ok(Proposal { topics, left_out, bill })
}

struct Search<'a, 'b> {
    thing: &'b str,
    mqtt: &'b Mqtt,
    prices: &'b Prices,
    dollars: f64,
    topics: Vec<Steps<'a>>,
}

/// A topic with each line that was added: what it is now is the last, what it was the first.
struct Steps<'a> {
    steps: Vec<Subject<'a>>,
    is_left_out: bool,
}

impl<'a> Steps<'a> {
    /// What it is now, unless it is left out.
    fn now(&self) -> Option<&Subject<'a>> {
        self.steps.last().filter(|_| !self.is_left_out)
    }
}

impl<'a> Search<'a, '_> {
    /// What all cost together, and each.
    fn bill(&self) -> (Bill, Vec<f64>) {
        let forecasts: Vec<&Forecast> = self.topics.iter().filter_map(Steps::now).map(Subject::forecast).collect();
        let bill = Bill::of(&forecasts, self.mqtt, self.prices);
        let mut charges = bill.charges.iter();
        let dollars = self.topics.iter().map(|topic| {
            let charge = topic.now().and_then(|_| charges.next());
            charge.map_or(0.0, |charge| charge.dollars_per_month)
        });
        let dollars = dollars.collect();
        (bill, dollars)
    }

    fn is_below(&self) -> bool {
        self.bill().0.dollars_per_month <= self.dollars
    }

    /// Positions of topics that cost something, the dearest first.
    fn dearest(&self) -> Vec<usize> {
        let dollars = self.bill().1;
        let mut order: Vec<usize> = (0..dollars.len()).filter(|at| dollars[*at] > 0.0).collect();
        order.sort_by(|one, other| dollars[*other].total_cmp(&dollars[*one]));
        order
    }

    /// Adds to each topic, from the dearest on, what `line` makes of it, as long as the sum is not below.
    fn add_to_each(&mut self, line: impl Fn(&Subject<'a>, &Self) -> Option<Subject<'a>>) {
        for at in self.dearest() {
            if self.is_below() {
                return;
            }
            let Some(changed) = self.topics[at].now().and_then(|subject| line(subject, self)) else { continue };
            self.try_out(at, changed);
        }
    }

    /// Takes `changed` if it saves something. Returns whether it does.
    fn try_out(&mut self, at: usize, changed: Subject<'a>) -> bool {
        let before = self.bill().1[at];
        self.topics[at].steps.push(changed);
        let is_worth_it = self.bill().1[at] < before * (1.0 - WORTH);
        if !is_worth_it {
            self.topics[at].steps.pop();
        }
        is_worth_it
    }

    fn thin_out(&mut self) {
        let mut done = vec![false; self.topics.len()];
        while !self.is_below() {
            let Some(at) = self.dearest().into_iter().find(|at| !done[*at]) else { return };
            let changed = self.topics[at].now().and_then(|subject| self.thinned(subject));
            done[at] |= !changed.is_some_and(|changed| self.try_out(at, changed));
        }
    }

    fn leave_out(&mut self) {
        while !self.is_below() {
            let Some(&at) = self.dearest().first() else { return };
            self.topics[at].is_left_out = true;
        }
    }

    /// Takes back what is not needed, of topics that cost `before` as they were.
    fn take_back(&mut self, before: &[f64]) {
        let mut order: Vec<usize> = (0..before.len()).collect();
        order.sort_by(|one, other| before[*one].total_cmp(&before[*other]));
        for at in order {
            if std::mem::take(&mut self.topics[at].is_left_out) && !self.is_below() {
                self.topics[at].is_left_out = true;
                continue;
            }
            while self.topics[at].steps.len() > 1
                && let Some(line) = self.topics[at].steps.pop()
            {
                if !self.is_below() {
                    self.topics[at].steps.push(line);
                    break;
                }
            }
        }
    }

    /// `subject` with other settings.
    fn changed(&self, subject: &Subject<'a>, topic: config::Topic, lost: &[Lost]) -> Option<Subject<'a>> {
        let mut changed = Subject::new(topic, self.thing, subject.observed).ok()?;
        changed.lost = subject.lost.iter().copied().filter(|old| !lost.iter().any(|new| new.is_like(*old))).collect();
        changed.lost.extend(lost);
        Some(changed)
    }

    /// In batches that cost the least for what waits no longer than `longest`.
    fn batched(&self, subject: &Subject<'a>, longest: Duration, compressed: bool) -> Option<Subject<'a>> {
        let mut topic = subject.topic.clone();
        if topic.retain || topic.payload == Payload::Cdr {
            return None;
        }
        let mut lost = Vec::new();
        if compressed {
            // Each payload, or what is below the limit would have steps of its own.
            (topic.compression, topic.compress_over) = (topic.compression.or(Some(Encoding::Zstd)), STEP as u64 / 5);
            lost.extend((subject.topic.compression.is_none()).then_some(Lost::Expanding));
        }
        let hz = subject.forecast.records_per_second;
        let most = (hz * longest.as_secs_f64() / LEEWAY).min(MOST_RECORDS) as u32;
        topic.batch = Some(Batch { max: most.max(1), linger: Duration::ZERO });
        let forecast = Forecast::of(&topic, self.thing, subject.observed).ok()?;
        let max = forecast.cheapest(self.mqtt.version.first(), MARGIN);
        if max > 1 {
            let linger = linger(max, hz);
            topic.batch = Some(Batch { max: max as u32, linger });
            lost.push(Lost::Time(linger));
        } else {
            topic.batch = subject.topic.batch;
        }
        let too_long = topic.batch.is_some_and(|batch| batch.linger >= topic.max_age);
        if too_long { None } else { self.changed(subject, topic, &lost) }
    }

    fn without_covariances(&self, subject: &Subject<'a>) -> Option<Subject<'a>> {
        let mut paths = Vec::new();
        covariances(&subject.observed.schema, "", &mut paths);
        let chosen = &subject.topic;
        let is_json = matches!(chosen.payload, Payload::Message | Payload::Envelope);
        if paths.is_empty() || !is_json || !chosen.fields.is_empty() {
            return None;
        }
        let mut topic = chosen.clone();
        topic.exclude.extend(paths);
        let changed = self.changed(subject, topic, &[Lost::Covariances])?;
        self.rebatched(changed)
    }

    /// At the next lower rate.
    fn thinned(&self, subject: &Subject<'a>) -> Option<Subject<'a>> {
        let mut topic = subject.topic.clone();
        if topic.every.is_some() || topic.window.is_some() {
            return None;
        }
        let now = subject.forecast.records_per_second;
        let rate = RATES.into_iter().find(|rate| *rate < 0.95 * now)?;
        topic.rate = Some(rate);
        let changed = self.changed(subject, topic, &[Lost::Messages(subject.observed.hz, rate)])?;
        self.rebatched(changed)
    }

    /// With batches that suit what has become of its records.
    fn rebatched(&self, subject: Subject<'a>) -> Option<Subject<'a>> {
        let is_ours = subject.lost.iter().any(|lost| lost.is_like(Lost::Time(Duration::ZERO)));
        if !is_ours {
            return Some(subject);
        }
        let compressed = subject.topic.compression.is_some();
        self.batched(&subject, LINGER[usize::from(compressed)], compressed)
    }
}

/// Most records of a batch that is proposed.
const MOST_RECORDS: f64 = 10_000.0;

/// A batch waits a little longer than its records take to come, so that their number ends it.
const LEEWAY: f64 = 1.1;

/// How long the first of `records` waits for the others.
fn linger(records: usize, hz: f64) -> Duration {
    let seconds = records as f64 / hz * LEEWAY;
    match seconds {
        ..1.0 => Duration::from_millis(100 * (seconds * 10.0).ceil() as u64),
        _ => Duration::from_secs(seconds.ceil() as u64),
    }
}

/// Paths of the fields of `schema` whose names end with `covariance`.
fn covariances(schema: &Schema, before: &str, paths: &mut Vec<String>) {
    for field in &schema.fields {
        let path = format!("{before}{}", field.name);
        match &field.kind {
            Kind::Message(inner) => {
                let each = if field.count == Count::One { "." } else { "[*]." };
                covariances(inner, &format!("{path}{each}"), paths);
            }
            _ if field.name.ends_with("covariance") => paths.push(path),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::codec::Field;

    /// As `nav_msgs/msg/Odometry` has them, and below a sequence.
    #[test]
    fn covariances_are_found_wherever_they_are() {
        let field = |name: &str, kind, count| Field { name: name.to_owned(), kind, count };
        let schema = |fields| Arc::new(Schema { name: "p/msg/T".to_owned(), fields });
        let many = Count::Sequence { bound: None };
        let pose = schema(vec![field("x", Kind::F64, Count::One), field("covariance", Kind::F64, Count::Array(36))]);
        let whole = schema(vec![
            field("pose", Kind::Message(Arc::clone(&pose)), Count::One),
            field("poses", Kind::Message(pose), many),
            field("orientation_covariance", Kind::F64, Count::Array(9)),
        ]);
        let mut paths = Vec::new();
        covariances(&whole, "", &mut paths);
        assert_eq!(paths, ["pose.covariance", "poses[*].covariance", "orientation_covariance"]);
    }
}

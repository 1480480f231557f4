//! The sum: what all topics together publish, how that stands to the quotas, and what it costs.

use std::ops::Add;

use super::forecast::{Forecast, Publishes};
use super::metering::Billing;
use super::{MONTH_SECONDS, Prices};
use crate::config::Mqtt;

/// What topics cost together.
#[derive(Debug, Clone, PartialEq)]
pub struct Bill {
    /// Of each, in their order.
    pub charges: Vec<Charge>,
    pub publishes_per_second: f64,
    /// Of whole MQTT packets.
    pub bytes_per_second: f64,
    /// Steps in a month that are billed.
    pub metered_per_month: f64,
    /// Of a month of the connection alone.
    pub connection_dollars: f64,
    /// Of a month, the connection included.
    pub dollars_per_month: f64,
}

/// What a topic costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Charge {
    pub publishes: Publishes,
    /// Steps in a month that are billed.
    pub metered_per_month: f64,
    pub dollars_per_month: f64,
}

impl Bill {
    /// What `topics` cost over a connection as `mqtt` says.
    ///
    /// Batches without `linger` are made only when publishes have to wait. So, where all together are more than may leave in a
    /// second, these share what the others leave, each with batches as long as it takes; otherwise each record travels alone. If
    /// even that is too much, the figures are those of what is offered.
    pub fn of(topics: &[&Forecast], mqtt: &Mqtt, prices: &Prices) -> Bill {
        let is_shared = topics.iter().filter(|topic| topic.records_per_second > 0.0).count() > 1;
        let demands: Vec<Demand> = topics.iter().map(|topic| Demand::of(topic, is_shared)).collect();
        let offered: f64 = demands.iter().map(|demand| demand.most).sum();
        let share = match mqtt.quotas.publishes_per_second {
            Some(allowed) if offered > f64::from(allowed) => level(&demands, allowed.into()),
            _ => f64::INFINITY,
        };
        let publishes: Vec<Publishes> = topics
            .iter()
            .zip(demands)
            .map(|(topic, demand)| topic.publishes(demand.records(share), mqtt.version.first()))
            .collect();
        let metered = |publishes: &Publishes| publishes.metered_per_second * MONTH_SECONDS;
        let is_message = |topic: &Forecast| matches!(topic.billing, Billing::Messages { .. });
        let messages: f64 =
            topics.iter().zip(&publishes).filter(|(topic, _)| is_message(topic)).map(|(_, own)| metered(own)).sum();
        // The tiers are those of the sum: each topic pays its share.
        let per_message = if messages > 0.0 { prices.messages(messages) / messages } else { 0.0 };
        let charges: Vec<Charge> = topics
            .iter()
            .zip(publishes)
            .map(|(topic, publishes)| {
                let metered_per_month = metered(&publishes);
                let dollars_per_month = match topic.billing {
                    Billing::Messages { .. } => metered_per_month * per_message,
                    Billing::Rule => prices.rule_with_an_action(metered_per_month),
                };
                Charge { publishes, metered_per_month, dollars_per_month }
            })
            .collect();
        let sum = |of: fn(&Charge) -> f64| charges.iter().map(of).fold(0.0, f64::add);
        let connection_dollars = prices.connection_month();
        Bill {
            publishes_per_second: sum(|charge| charge.publishes.per_second),
            bytes_per_second: sum(|charge| charge.publishes.bytes_per_second),
            metered_per_month: sum(|charge| charge.metered_per_month),
            connection_dollars,
            dollars_per_month: sum(|charge| charge.dollars_per_month) + connection_dollars,
            charges,
        }
    }
}

/// Publishes a second of a topic.
#[derive(Debug, Clone, Copy)]
struct Demand {
    records_per_second: f64,
    /// With batches as long as they may be.
    least: f64,
    /// With nothing to wait for but `linger`.
    most: f64,
    longest: usize,
    shortest: usize,
}

impl Demand {
    fn of(topic: &Forecast, is_shared: bool) -> Demand {
        let (longest, shortest) = (topic.most(is_shared), topic.lingering(is_shared));
        let records_per_second = topic.records_per_second;
        let (least, most) = (records_per_second / longest as f64, records_per_second / shortest as f64);
        Demand { records_per_second, least, most, longest, shortest }
    }

    /// Records of a publish where each topic that batches may have `share` publishes a second.
    fn records(self, share: f64) -> usize {
        // The share was found by halving, and is a little below.
        let needed = (self.records_per_second / share - 1e-6).ceil() as usize;
        needed.clamp(self.shortest, self.longest)
    }
}

/// How many publishes a second each topic that batches may have, so that all together have `allowed`.
fn level(demands: &[Demand], allowed: f64) -> f64 {
    let at = |share: f64| demands.iter().map(|demand| share.clamp(demand.least, demand.most)).sum::<f64>();
    let (mut low, mut high) = (0.0, allowed);
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if at(middle) > allowed { high = middle } else { low = middle }
    }
    // Nobody is left with less than nothing: its batches are as long as they may be.
    low.max(f64::MIN_POSITIVE)
}

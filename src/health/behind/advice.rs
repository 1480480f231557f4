//! Which lines of configuration would help, in figures.

use super::offer::{Flow, Offer};
use crate::health::report::Limit;
use iot_bridge_core::tally::{Bytes, Frequency};
use iot_bridge_core::uplink::batch_bytes;

/// Of what is allowed, so much is aimed at: the rest is for making up the backlog.
const AIM: f64 = 0.9;

/// `batch.max` that is proposed. More gains little: with `max × size` of 10 KiB both quotas are used to the full.
const BATCH: f64 = 50.0;

/// Compressed JSON is about half, in batches a fifth (docs/aws.md), from 1 KiB on.
const SINGLY_COMPRESSED: f64 = 0.5;
const BATCH_COMPRESSED: f64 = 0.2;
const COMPRESSIBLE: f64 = 1024.0;

/// The part of their records that topics with the share `theirs` of all that is offered would have to keep, so that all
/// fits, where the part `allowed` of it may leave.
///
/// For example, 240 publishes are offered and 100 allowed; the largest topics offer 200 of them. With the others' 40 within
/// the 90 that are aimed at, theirs have to become 50, a quarter.
pub(super) fn keep(allowed: f64, theirs: f64) -> f64 {
    let aim = AIM * allowed;
    let alone = 1.0 - (1.0 - aim) / theirs;
    // If they can't do it alone, each gets as much less as all would have to.
    if theirs > 0.0 && alone > 0.0 { alone } else { aim }
}

/// What the topic offers, and what lines would make of it: a sentence without its full stop. `keep` is the part of its
/// records that it should keep.
pub(super) fn advice(offer: &Offer, limit: Limit, keep: f64) -> String {
    let mut lines = Vec::new();
    if !offer.sending.has_window {
        let hertz = round(offer.records * keep);
        lines.push((format!("rate = \"{hertz} Hz\""), told(offer.flow_of(hertz), limit)));
    }
    if limit != Limit::BytesPerSecond
        && let Some(line) = batch(offer)
    {
        lines.push(line);
    }
    if limit != Limit::PublishesPerSecond
        && let Some(line) = compression(offer)
    {
        lines.push(line);
    }
    let lines: Vec<_> = lines
        .iter()
        .enumerate()
        .map(|(index, (line, result))| match index {
            0 => format!("`{line}` makes {result} of it"),
            _ => format!("`{line}` {result}"),
        })
        .collect();
    let offers = format!("{} offers {}", offer.ros, told(offer.flow(), limit));
    if lines.is_empty() {
        format!("{offers}: a longer `window` makes less of it")
    } else {
        format!("{offers}: {}", lines.join(", "))
    }
}

fn told(flow: Flow, limit: Limit) -> String {
    let (publishes, bytes) = (Frequency(flow.publishes), Bytes(flow.bytes));
    match limit {
        Limit::PublishesPerSecond => format!("{publishes} publishes/s"),
        Limit::BytesPerSecond => format!("{bytes}/s"),
        Limit::Link => format!("{publishes} publishes/s ({bytes}/s)"),
    }
}

/// A batch, if it makes no more than half as many publishes.
fn batch(offer: &Offer) -> Option<(String, String)> {
    let sending = offer.sending;
    let longest = batch_bytes(true, sending.compression.is_some()) as f64;
    let records = if offer.bytes_each > 0.0 { (longest / offer.bytes_each).min(BATCH) } else { BATCH };
    if sending.is_cdr || records < 2.0 * offer.per_publish {
        return None;
    }
    let line = match sending.batch {
        None => format!("batch = {{ max = {BATCH} }}"),
        Some(_) => format!("batch.max = {BATCH}"),
    };
    Some((line, format!("{} publishes/s", Frequency(offer.records / records))))
}

/// Compression, if payloads are long enough for it.
fn compression(offer: &Offer) -> Option<(String, String)> {
    let is_compressible = offer.bytes_each * offer.per_publish > COMPRESSIBLE;
    if offer.sending.is_cdr || offer.sending.compression.is_some() || !is_compressible {
        return None;
    }
    let left = if offer.per_publish >= 2.0 { BATCH_COMPRESSED } else { SINGLY_COMPRESSED };
    Some(("compression = \"zstd\"".to_owned(), format!("about {}/s", Bytes(offer.flow().bytes * left))))
}

/// The largest of 1, 2, 5, 10, 20, 50, … that is no more than `hertz`, also below 1; at least 0.1.
fn round(hertz: f64) -> f64 {
    let power = hertz.max(0.1).log10().floor();
    let unit = 10f64.powf(power);
    let digit = [5.0, 2.0, 1.0].into_iter().find(|digit| digit * unit <= hertz * 1.000_001).unwrap_or(1.0);
    // Tenths are not exact in binary.
    (digit * unit * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::topic::Sending;
    use iot_bridge_core::config::{Batch, Encoding};
    use std::time::Duration;

    /// Rates are round figures below what would do.
    #[test]
    fn rates_are_round() {
        let rounded = [0.01, 0.1, 0.19, 0.2, 0.7, 1.0, 4.9, 33.0, 50.0, 999.0].map(round);
        assert_eq!(rounded, [0.1, 0.1, 0.1, 0.2, 0.5, 1.0, 2.0, 20.0, 50.0, 500.0]);
    }

    /// What the named topics keep lets the others be, if it can.
    #[test]
    fn the_largest_make_room_for_the_others() {
        assert!((keep(100.0 / 240.0, 200.0 / 240.0) - 0.25).abs() < 1e-9);
        // Those that are not named take more than there is.
        assert!((keep(0.1, 0.8) - 0.09).abs() < 1e-9);
    }

    /// Only lines that gain something are proposed: no batch of bytes or of what is large, none where it is already so long;
    /// no compression of what is short or compressed.
    #[test]
    fn only_what_helps_is_proposed() {
        let offer = |sending, per_publish, bytes_each| Offer {
            ros: "/t".into(),
            sending,
            records: 100.0,
            per_publish,
            bytes_each,
        };
        let plain = Sending::default();
        let batched = |max| Sending { batch: Some(Batch { max, linger: Duration::ZERO }), ..plain };
        let line = |told: Option<(String, String)>| told.map(|(line, result)| format!("{line}: {result}"));
        for (offer, batches, compresses) in [
            (offer(plain, 1.0, 200.0), Some("batch = { max = 50 }: 2 publishes/s"), None),
            (offer(plain, 1.0, 0.0), Some("batch = { max = 50 }: 2 publishes/s"), None),
            (
                offer(plain, 1.0, 2560.0),
                Some("batch = { max = 50 }: 25 publishes/s"),
                Some("compression = \"zstd\": about 125 KiB/s"),
            ),
            (offer(plain, 1.0, 9000.0), None, Some("compression = \"zstd\": about 439 KiB/s")),
            (
                offer(batched(10), 10.0, 200.0),
                Some("batch.max = 50: 2 publishes/s"),
                Some("compression = \"zstd\": about 3.9 KiB/s"),
            ),
            (offer(batched(50), 50.0, 200.0), None, Some("compression = \"zstd\": about 3.9 KiB/s")),
            (offer(Sending { compression: Some(Encoding::Zstd), ..batched(50) }, 50.0, 100.0), None, None),
            (offer(Sending { is_cdr: true, ..plain }, 1.0, 2000.0), None, None),
        ] {
            assert_eq!(line(batch(&offer)).as_deref(), batches, "{offer:?}");
            assert_eq!(line(compression(&offer)).as_deref(), compresses, "{offer:?}");
        }
    }
}

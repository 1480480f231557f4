//! What was heard, in figures: as `topics --json` prints it.

use serde::Serialize;
use serde_json::{Value, json};

use super::Configured;
use super::advice::Advice;
use super::gauge::KEPT;
use super::listen::{Heard, HeardTopic};
use iot_bridge_core::config::{self, Durability, PAYLOAD_LIMIT, Reliability};
use iot_bridge_core::price::{Bill, Charge, Forecast, Observed, Prices, Subject, TooDear, propose};

/// What was heard, and what it costs.
pub struct Report {
    /// The dearest first.
    pub rows: Vec<Row>,
    pub total: Total,
    entries: Vec<Entry>,
}

/// A topic. Its figures are zero where nothing of it can be told.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub name: String,
    /// Several if publishers differ, with a blank between them.
    #[serde(rename = "type")]
    pub type_name: String,
    pub publishers: usize,
    /// What the publishers offer: `reliable`, `best-effort`, or `mixed` if they differ.
    pub reliability: &'static str,
    /// `volatile`, `transient-local` or `mixed`.
    pub durability: &'static str,
    /// Messages a second.
    pub hz: f64,
    /// As ROS sends them.
    pub bytes_per_second: f64,
    /// Of a message on average, as it is queued: shaped, not compressed. `null` where none was seen that can be sent.
    pub json_bytes: Option<u64>,
    /// Whether the configuration forwards it.
    pub forwarded: bool,
    pub publishes_per_second: f64,
    /// Steps of 5 KB.
    pub metered_per_month: f64,
    pub dollars_per_month: f64,
    /// Whether it costs something that can't be told: the three figures before are zero then, and so they are in the sums.
    pub untold: bool,
    /// Why nothing of it is sent, or can be told: a sentence without its full stop.
    pub trouble: Option<String>,
}

/// All topics together.
#[derive(Debug, Clone, Serialize)]
pub struct Total {
    pub hz: f64,
    pub bytes_per_second: f64,
    #[serde(flatten)]
    pub sum: Sum,
    /// By `mqtt.quotas`; `null` for no limit.
    pub allowed_publishes_per_second: Option<u32>,
    pub allowed_published_bytes_per_second: Option<u64>,
    /// What of it is the connection's.
    pub connection_dollars_per_month: f64,
    /// Of the topics that the configuration forwards alone.
    pub forwarded: Sum,
    /// How long it was listened.
    pub seconds: f64,
    /// When the prices were noted, and where.
    pub prices_date: String,
    pub prices_source: String,
}

/// Some topics together.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Sum {
    pub topics: usize,
    pub publishes_per_second: f64,
    /// Of whole MQTT packets.
    pub published_bytes_per_second: f64,
    pub metered_per_month: f64,
    /// The connection included.
    pub dollars_per_month: f64,
    /// Topics among them whose cost can't be told, and is not in the sums.
    pub untold: usize,
}

/// What an entry of the configuration makes of a topic, or what one with nothing but `ros` would.
struct Entry {
    topic: config::Topic,
    observed: Observed,
    forwarded: bool,
    never_fits: bool,
}

impl Sum {
    fn add(&mut self, charge: &Charge) {
        self.publishes_per_second += charge.publishes.per_second;
        self.published_bytes_per_second += charge.publishes.bytes_per_second;
        self.metered_per_month += charge.metered_per_month;
        self.dollars_per_month += charge.dollars_per_month;
    }
}

impl Report {
    pub fn new(heard: &Heard, configured: &Configured, prices: &Prices) -> Report {
        let mut rows: Vec<Row> = heard.topics.iter().map(|topic| Row::measured(topic, heard)).collect();
        let mut configured_of = configured.entries_of(heard.topics.iter().map(|topic| &topic.published));
        let mut entries = Vec::new();
        // Of each forecast, the row that it is of. What is forwarded is one connection, and shares its quotas.
        let mut forecasts: [Vec<(usize, Forecast)>; 2] = Default::default();
        for (at, (row, topic)) in rows.iter_mut().zip(&heard.topics).enumerate() {
            let of_topic = configured_of.remove(&row.name).unwrap_or_default();
            match row.forecast(topic, of_topic, configured) {
                Ok(told) => {
                    for (entry, forecast) in told {
                        forecasts[usize::from(entry.forwarded)].push((at, forecast));
                        entries.push(entry);
                    }
                }
                Err(trouble) => row.trouble = Some(trouble),
            }
        }
        let connection = prices.connection_month();
        let mut total = Sum { topics: rows.len(), dollars_per_month: connection, ..Sum::default() };
        let of_configuration = rows.iter().filter(|row| row.forwarded).count();
        let mut forwarded = Sum { topics: of_configuration, dollars_per_month: connection, ..Sum::default() };
        for (is_forwarded, forecasts) in [false, true].into_iter().zip(forecasts) {
            let of_bill: Vec<&Forecast> = forecasts.iter().map(|(_, forecast)| forecast).collect();
            let bill = Bill::of(&of_bill, &configured.mqtt, prices);
            for ((at, _), charge) in forecasts.iter().zip(&bill.charges) {
                rows[*at].add(charge);
                total.add(charge);
                if is_forwarded {
                    forwarded.add(charge);
                }
            }
        }
        for row in rows.iter().filter(|row| row.untold) {
            total.untold += 1;
            forwarded.untold += usize::from(row.forwarded);
        }
        rows.sort_by(|one, other| {
            let cost = other.dollars_per_month.total_cmp(&one.dollars_per_month);
            let pace = other.bytes_per_second.total_cmp(&one.bytes_per_second);
            cost.then(pace).then_with(|| one.name.cmp(&other.name))
        });
        let total = Total {
            hz: rows.iter().map(|row| row.hz).sum(),
            bytes_per_second: rows.iter().map(|row| row.bytes_per_second).sum(),
            sum: total,
            allowed_publishes_per_second: configured.mqtt.quotas.publishes_per_second,
            allowed_published_bytes_per_second: configured.mqtt.quotas.bytes_per_second,
            connection_dollars_per_month: connection,
            forwarded,
            seconds: (heard.to - heard.from) as f64 / 1e9,
            prices_date: prices.date.clone(),
            prices_source: prices.source.clone(),
        };
        Report { rows, total, entries }
    }

    /// Lines that bring the sum below `dollars`: of what the configuration forwards, or of all if that is nothing.
    ///
    /// # Errors
    /// If an entry can't be told; and within, [`TooDear`].
    pub fn advice(
        &self,
        configured: &Configured,
        prices: &Prices,
        dollars: f64,
    ) -> anyhow::Result<Result<Advice, TooDear>> {
        let some_are_forwarded = self.entries.iter().any(|entry| entry.forwarded);
        let meant = self.entries.iter().filter(|entry| entry.forwarded || !some_are_forwarded && !entry.never_fits);
        let subjects = meant.map(|entry| Subject::new(entry.topic.clone(), &configured.thing, &entry.observed));
        let subjects: Vec<_> = subjects.collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
        let before = if some_are_forwarded { self.total.forwarded } else { self.total.sum };
        let originals: Vec<config::Topic> = subjects.iter().map(|subject| subject.topic.clone()).collect();
        let proposal = propose(subjects, &configured.thing, &configured.mqtt, prices, dollars);
        proposal
            .map(|proposal| Advice::new(&proposal, &originals, some_are_forwarded, configured, dollars, before))
            .map_or_else(|too_dear| Ok(Err(too_dear)), |advice| advice.map(Ok))
    }

    /// As JSON.
    pub fn json(&self, advice: Option<&Advice>) -> Value {
        let mut json = json!({ "topics": self.rows, "total": self.total });
        if let Some(advice) = advice {
            json["proposal"] = json!(advice);
        }
        json
    }
}

impl Row {
    fn measured(topic: &HeardTopic, heard: &Heard) -> Row {
        let HeardTopic { published, gauged } = topic;
        let hz = gauged.pace.hz(gauged.from.unwrap_or(heard.from), heard.to);
        Row {
            name: published.name.clone(),
            type_name: published.type_names.join(" "),
            publishers: published.publishers,
            reliability: match published.reliability {
                Some(Reliability::Reliable) => "reliable",
                Some(Reliability::BestEffort) => "best-effort",
                Some(Reliability::Auto) | None => "mixed",
            },
            durability: match published.durability {
                Some(Durability::Volatile) => "volatile",
                Some(Durability::TransientLocal) => "transient-local",
                Some(Durability::Auto) | None => "mixed",
            },
            hz,
            bytes_per_second: hz * gauged.message_bytes(),
            json_bytes: None,
            forwarded: false,
            publishes_per_second: 0.0,
            metered_per_month: 0.0,
            dollars_per_month: 0.0,
            untold: false,
            trouble: gauged.trouble.clone(),
        }
    }

    /// What its `entries` in the configuration make of the topic.
    ///
    /// # Errors
    /// Why it can't be told: a sentence without its full stop.
    fn forecast(
        &mut self,
        topic: &HeardTopic,
        mut entries: Vec<config::Topic>,
        configured: &Configured,
    ) -> Result<Vec<(Entry, Forecast)>, String> {
        self.forwarded = !entries.is_empty();
        if entries.is_empty() {
            entries.push(configured.usual(&self.name)?);
        }
        if let Some(trouble) = &self.trouble {
            return Err(trouble.clone());
        }
        let Some(schema) = &topic.gauged.schema else {
            self.untold = true;
            return Err("what it costs can't be told: it was not there for long enough to be received".to_owned());
        };
        let mut told = Vec::new();
        let (mut sent, mut sizes) = (0.0, 0);
        for entry in entries {
            let observed = Observed { schema: schema.clone(), hz: self.hz, messages: topic.gauged.kept() };
            let forecast = Forecast::of(&entry, &configured.thing, &observed)?;
            if let Some(bytes) = forecast.record_bytes {
                (sent, sizes) = (sent + bytes, sizes + 1);
            }
            let not_kept = topic.gauged.not_kept();
            if forecast.never_fits || not_kept.is_some_and(|bytes| is_surely_too_large(&entry, bytes)) {
                let bytes = not_kept.or_else(|| observed.messages.last().map(|message| message.cdr.len()));
                self.trouble = Some(format!(
                    "no message of it is small enough for AWS IoT Core, which takes {PAYLOAD_LIMIT} bytes (they have {} in \
                     ROS): leave out what is large with `fields`, `exclude` or `arrays`, or forward a smaller topic, of \
                     compressed images for example",
                    indicatif::HumanBytes(bytes.unwrap_or(0) as u64)
                ));
            } else if let Some(bytes) = not_kept {
                self.untold = true;
                self.trouble = Some(format!(
                    "what it costs can't be told: its messages have {} in ROS, and with those of the other topics they are \
                     more than is kept to look at, {}",
                    indicatif::HumanBytes(bytes as u64),
                    indicatif::HumanBytes(KEPT as u64)
                ));
            }
            let never_fits = forecast.never_fits || not_kept.is_some();
            told.push((Entry { topic: entry, observed, forwarded: self.forwarded, never_fits }, forecast));
        }
        self.json_bytes = (sizes > 0).then(|| (sent / f64::from(sizes)).round() as u64);
        Ok(told)
    }

    fn add(&mut self, charge: &Charge) {
        self.publishes_per_second += charge.publishes.per_second;
        self.metered_per_month += charge.metered_per_month;
        self.dollars_per_month += charge.dollars_per_month;
    }
}

/// Whether a message of `bytes` bytes in ROS is too large for AWS IoT Core, whatever is in it, as `entry` forwards it.
fn is_surely_too_large(entry: &config::Topic, bytes: usize) -> bool {
    // The shortest that JSON makes of a number of 8 bytes has 2, with its comma.
    const SHORTER: usize = 4;
    let is_whole = entry.fields.is_empty() && entry.exclude.is_empty() && entry.arrays.is_none();
    let is_gathered = entry.window.is_some();
    is_whole && !is_gathered && entry.compression.is_none() && bytes > SHORTER * PAYLOAD_LIMIT
}

#[cfg(test)]
mod tests {
    use super::super::gauge::Gauge;
    use super::*;
    use crate::ros::{Published, Receiver, Sample};
    use iot_bridge_core::codec::{Count, Field, Kind, Schema};

    fn configured(entry: config::Topic) -> Configured {
        Configured {
            thing: "robot1".to_owned(),
            mqtt: config::default_mqtt().unwrap(),
            topics: vec![entry],
            node: "/iot_bridge".to_owned(),
            max_age: None,
        }
    }

    /// What is told of 16 topics with texts of 6.2 MB, of which not one of each can be kept, forwarded by `entry`.
    fn report(entry: config::Topic) -> Report {
        let configured = configured(entry);
        let fields = vec![Field { name: "data".into(), kind: Kind::String { bound: None }, count: Count::One }];
        let schema = Schema { name: "std_msgs/msg/String".into(), fields }.into();
        const LENGTH: u32 = 6_200_000;
        let text = std::iter::repeat_n(b'x', LENGTH as usize - 1).chain([0]);
        let cdr: Vec<u8> = [0, 1, 0, 0].into_iter().chain(LENGTH.to_le_bytes()).chain(text).collect();
        let mut gauge = Gauge::default();
        gauge.add(16, 0);
        gauge.begin(0);
        for index in 0..16 {
            gauge.opened(index, &schema);
            gauge.received(index, &Sample { cdr: &cdr, source_ns: 1, received_ns: 2 });
        }
        let topics = gauge.take().into_iter().enumerate().map(|(number, gauged)| {
            let published = Published {
                name: format!("/camera/c{number}"),
                type_names: vec!["std_msgs/msg/String".to_owned()],
                publishers: 1,
                reliability: None,
                durability: None,
            };
            HeardTopic { published, gauged }
        });
        let heard = Heard { topics: topics.collect(), from: 0, to: 1_000_000_000, nothing: String::new() };
        Report::new(&heard, &configured, &Prices::built_in())
    }

    fn troubles(report: &Report) -> Vec<&str> {
        report.rows.iter().filter_map(|row| row.trouble.as_deref()).collect()
    }

    /// Also topics of which no message was kept are marked as too large to be sent, by their size. Where what is sent may be
    /// smaller, it is said that it can't be told, in the table, in the sums and for programs.
    #[test]
    fn a_topic_is_too_large_by_its_size_where_none_of_it_is_kept() {
        let entry = config::Topic { ros: "/camera/*".to_owned(), ..config::default_topic("robot1", "/t").unwrap() };
        let report_of_whole = report(entry.clone());
        let whole = troubles(&report_of_whole);
        let too_large = |trouble: &&&str| trouble.starts_with("no message of it is small enough");
        assert_eq!(whole.iter().filter(too_large).count(), 16, "{whole:#?}");
        assert!(whole.iter().all(|trouble| trouble.contains("(they have 5.91 MiB in ROS)")), "{whole:#?}");
        assert_eq!(report_of_whole.json(None)["total"]["untold"], 0);
        let compressed = report(config::Topic { compression: Some(config::Encoding::Zstd), ..entry.clone() });
        let untold = |trouble: &&&str| trouble.starts_with("what it costs can't be told: ");
        assert_eq!(troubles(&compressed).iter().filter(untold).count(), 6, "{:#?}", troubles(&compressed));
        let json = compressed.json(None);
        let untold = json["topics"].as_array().unwrap().iter().filter(|row| row["untold"] == true);
        assert!(untold.clone().all(|row| row["trouble"].is_string() && row["dollars_per_month"] == 0.0), "{json:#}");
        assert_eq!(
            (untold.count(), &json["total"]["untold"], &json["total"]["forwarded"]["untold"]),
            (6, &6.into(), &6.into())
        );
        let text = compressed.text(None).unwrap();
        assert_eq!(text.lines().filter(|line| line.ends_with("            ?        ?")).count(), 6, "{text}");
        let advice = compressed.advice(&configured(entry), &Prices::built_in(), 1000.0).unwrap().unwrap();
        assert_eq!(advice.untold, 6);
        assert!(advice.text().unwrap().starts_with("\nThe cost of 6 topics can't be told, and comes on top"));
        assert_eq!(text.matches(" a month, without 6 topics whose cost can't be told.").count(), 2, "{text}");
    }
}

//! The table of prices: the one that is built in, or another in its place.

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml_edit::de;

use super::MONTH_SECONDS;
use crate::config::Problem;

/// The table that takes the place of the one built in, if it is there.
pub const PRICE_FILE: &str = "/etc/iot-bridge/prices.toml";

const BUILT_IN: &str = include_str!("us-east-1.toml");

const MILLION: f64 = 1e6;

const MINUTES_OF_MONTH: f64 = MONTH_SECONDS / 60.0;

/// What AWS IoT Core costs, in dollars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// When they were noted, as people write it.
    pub date: String,
    /// Where they are from, and for which region they are.
    pub source: String,
    /// Of a million minutes of connection.
    connection: f64,
    /// Of a million times that a rule is triggered.
    rule: f64,
    /// Of a million actions of rules.
    action: f64,
    /// Of a million messages, by how many there are in a month. They are those of an account.
    messages: Vec<Tier>,
}

/// A price that holds up to a number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Messages a month; the last tier has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    up_to: Option<f64>,
    /// Of a million of those that are beyond the tier before.
    price: f64,
}

impl Prices {
    /// The table that is built in: the public prices of one region.
    pub fn built_in() -> Prices {
        toml_edit::de::from_str(BUILT_IN).expect("a test reads it")
    }

    /// The table in the file at `path`. Without a path, that in [`PRICE_FILE`], or the one built in where that is not there.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn load(path: Option<&Path>) -> Result<Prices, Problem> {
        let default = Path::new(PRICE_FILE);
        match path {
            Some(path) => Prices::read(path),
            None if default.exists() => Prices::read(default),
            None => Ok(Prices::built_in()),
        }
    }

    fn read(path: &Path) -> Result<Prices, Problem> {
        const ALLOWED: &str = "allowed is a table of prices like /usr/share/iot-bridge/prices.toml: date, source, connection, \
                               rule, action and [[messages]] with up_to and price";
        let problem = |line, found, allowed: &str| Problem {
            source: path.display().to_string(),
            line,
            key: String::new(),
            found,
            allowed: allowed.to_owned(),
        };
        let unreadable = |error: std::io::Error| {
            problem(None, format!("a file that can't be read ({error})"), "allowed is a TOML file")
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let prices: Prices = toml_edit::de::from_str(&text).map_err(|error: de::Error| {
            let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            problem(line, one_line(error.message()), ALLOWED)
        })?;
        match prices.fault() {
            None => Ok(prices),
            Some((key, allowed)) => Err(Problem { key, ..problem(None, "what can be no price".to_owned(), allowed) }),
        }
    }

    /// The key that can't be meant, and what is allowed there.
    fn fault(&self) -> Option<(String, &'static str)> {
        let is_price = |price: f64| price.is_finite() && price >= 0.0;
        let single = [("connection", self.connection), ("rule", self.rule), ("action", self.action)];
        let wrong = single.into_iter().find(|(_, price)| !is_price(*price)).map(|(key, _)| key.to_owned());
        let tiers = self.messages.iter().map(|tier| tier.price).enumerate();
        let wrong = wrong.or_else(|| {
            tiers.into_iter().find(|(_, price)| !is_price(*price)).map(|(at, _)| format!("messages[{at}].price"))
        });
        if let Some(key) = wrong {
            return Some((key, "allowed is a number of dollars, 0 or more"));
        }
        let ends: Vec<_> = self.messages.iter().map(|tier| tier.up_to.unwrap_or(f64::INFINITY)).collect();
        let is_last = |at: usize| at + 1 == ends.len();
        let is_in_order = |at: usize| {
            let before = at.checked_sub(1).map_or(0.0, |before| ends[before]);
            if is_last(at) { ends[at] == f64::INFINITY && before.is_finite() } else { ends[at] > before }
        };
        if let Some(at) = (0..ends.len()).find(|at| !is_in_order(*at)) {
            let allowed = "allowed are numbers of messages that rise from tier to tier, and none in the last";
            return Some((format!("messages[{at}].up_to"), allowed));
        }
        ends.is_empty().then(|| ("messages".to_owned(), "allowed is one tier or more"))
    }

    /// Dollars for `messages` in a month.
    pub fn messages(&self, messages: f64) -> f64 {
        let mut below = 0.0;
        let mut dollars = 0.0;
        for tier in &self.messages {
            let end = tier.up_to.unwrap_or(f64::INFINITY);
            dollars += (messages.min(end) - below).max(0.0) / MILLION * tier.price;
            below = end;
        }
        dollars
    }

    /// Dollars for a rule that is triggered so many times, and has one action.
    pub fn rule_with_an_action(&self, times: f64) -> f64 {
        times / MILLION * (self.rule + self.action)
    }

    /// Dollars for a month of one connection.
    pub fn connection_month(&self) -> f64 {
        self.connection * MINUTES_OF_MONTH / MILLION
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9 * b.abs().max(1.0)
    }

    /// The price page's own example: 100,000 devices, connected for 30 days, with 325 messages a day each, cost $345.60 and
    /// $975.00. Beyond a thousand million messages the next tiers begin: 6,000 million are 1,000 + 4 × 800 + 700 dollars.
    #[test]
    fn the_examples_of_the_price_page_come_out() {
        let prices = Prices::built_in();
        assert_eq!(prices.fault(), None);
        assert!(near(prices.connection_month() * 100_000.0, 345.60), "{}", prices.connection_month());
        assert!(near(prices.messages(100_000.0 * 325.0 * 30.0), 975.0));
        assert!(near(prices.messages(6e9), 4900.0));
        assert!(near(prices.messages(1e9), 1000.0) && near(prices.messages(1e9 + 1e6), 1000.8));
        assert_eq!(prices.messages(0.0), 0.0);
        assert!(near(prices.rule_with_an_action(1e6), 0.30));
    }

    /// A file takes the table's place, whole; what is wrong with one is told with its line and key.
    #[test]
    fn a_file_takes_the_place_of_the_table() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("prices.toml");
        let write = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Prices::load(Some(&path)).map_err(|problem| problem.to_string())
        };
        let double = BUILT_IN.replace("price = 1.00", "price = 2.00");
        assert!(near(write(&double).unwrap().messages(1e6), 2.0));
        for (text, words) in [
            (BUILT_IN.replace("connection =", "conection ="), ["prices.toml:9", "conection", "allowed is a table"]),
            (BUILT_IN.replace("0.08", "-1"), ["prices.toml: connection", "no price", "0 or more"]),
            (BUILT_IN.replace("5_000_000_000", "1_000"), ["messages[1].up_to", "", "rise"]),
            (
                BUILT_IN.replace("price = 0.70", "price = 0.70\nup_to = 9e9"),
                ["messages[2].up_to", "", "none in the last"],
            ),
            (BUILT_IN.replace("price = 0.70", "price = \"x\""), ["prices.toml:23", "string", "allowed is a table"]),
            ("= =".to_owned(), ["prices.toml:1", "", "allowed is a table"]),
        ] {
            let problem = write(&text).unwrap_err();
            assert!(words.iter().all(|word| problem.contains(word)), "{problem}");
        }
        let absent = Prices::load(Some(&directory.path().join("none"))).unwrap_err();
        assert!(absent.to_string().contains("can't be read"), "{absent}");
    }
}

//! What `--budget` proposes, for people and programs.

use std::fmt::Write;

use serde::Serialize;

use super::Configured;
use super::report::Sum;
use iot_bridge_core::config;
use iot_bridge_core::price::{Proposal, lines};
use iot_bridge_core::tally::counted;

/// Lines of configuration that bring the sum below a budget.
#[derive(Debug, Serialize)]
pub struct Advice {
    pub budget: f64,
    /// What it costs now, of the topics that are meant.
    pub dollars_per_month_before: f64,
    /// With these lines, the connection included.
    pub dollars_per_month: f64,
    pub publishes_per_second: f64,
    /// Topics that are meant and whose cost can't be told; it comes on top, before and after.
    pub untold: usize,
    /// Whether the entries take the place of those of the configuration; otherwise there are none of these topics yet.
    pub replaces: bool,
    pub topics: Vec<AdvisedTopic>,
    /// All entries that are new or change, to paste.
    pub toml: String,
}

/// A topic in it.
#[derive(Debug, Serialize)]
pub struct AdvisedTopic {
    pub name: String,
    pub dollars_per_month_before: f64,
    pub dollars_per_month: f64,
    /// What is lost; nothing, if it stays as it is.
    pub lost: Vec<String>,
    /// Its entry; `null` if it is left out.
    pub toml: Option<String>,
}

impl Advice {
    /// Of a `proposal` for `originals`, which are entries of the configuration if it `replaces` them.
    pub fn new(
        proposal: &Proposal,
        originals: &[config::Topic],
        replaces: bool,
        configured: &Configured,
        budget: f64,
        before: Sum,
    ) -> anyhow::Result<Advice> {
        let mut topics = Vec::new();
        for proposed in &proposal.topics {
            let usual = configured.usual(&proposed.topic.ros).map_err(anyhow::Error::msg)?;
            let [dollars_per_month_before, dollars_per_month] = proposed.dollars;
            topics.push(AdvisedTopic {
                name: proposed.topic.ros.clone(),
                dollars_per_month_before,
                dollars_per_month,
                lost: proposed.lost.clone(),
                toml: Some(lines(&proposed.topic, &usual)?),
            });
        }
        topics.extend(proposal.left_out.iter().map(|left_out| AdvisedTopic {
            name: left_out.ros.clone(),
            dollars_per_month_before: left_out.dollars,
            dollars_per_month: 0.0,
            lost: vec!["nothing of it travels".to_owned()],
            toml: None,
        }));
        topics.sort_by(|one, other| other.dollars_per_month_before.total_cmp(&one.dollars_per_month_before));
        let is_unchanged = topics.iter().all(|topic| topic.lost.is_empty());
        debug_assert_eq!(topics.len(), originals.len());
        let mut advice = Advice {
            budget,
            dollars_per_month_before: before.dollars_per_month,
            dollars_per_month: proposal.bill.dollars_per_month,
            publishes_per_second: proposal.bill.publishes_per_second,
            untold: before.untold,
            replaces,
            topics,
            toml: String::new(),
        };
        if !is_unchanged {
            advice.toml = advice.to_paste()?;
        }
        Ok(advice)
    }

    /// The entries, with what they cost and lose as comments.
    fn to_paste(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for topic in &self.topics {
            let (before, after) = (topic.dollars_per_month_before, topic.dollars_per_month);
            match &topic.toml {
                None => writeln!(text, "# {}: left out, instead of ${before:.2} a month.\n", topic.name)?,
                Some(_) if topic.lost.is_empty() && self.replaces => {}
                Some(toml) if topic.lost.is_empty() => writeln!(text, "# ${after:.2} a month.\n{toml}")?,
                Some(toml) => {
                    let lost = topic.lost.join("; ");
                    writeln!(text, "# ${after:.2} instead of ${before:.2} a month. Lost: {lost}.\n{toml}")?;
                }
            }
        }
        Ok(text.trim_end().to_owned() + "\n")
    }

    /// As text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let (budget, before, after) = (self.budget, self.dollars_per_month_before, self.dollars_per_month);
        if self.untold > 0 {
            let topics = counted(self.untold as u64, "topic", "topics");
            writeln!(text, "\nThe cost of {topics} can't be told, and comes on top of what follows.")?;
        }
        if self.toml.is_empty() {
            writeln!(text, "\nNothing has to change for ${budget:.2} a month: it costs ${before:.2}.")?;
            return Ok(text);
        }
        let place = if self.replaces {
            "Each of these entries takes the place of that of the same topic"
        } else {
            "The entries for it, to paste"
        };
        let publishes = self.publishes_per_second;
        writeln!(
            text,
            "\nBelow ${budget:.2} a month: ${after:.2} instead of ${before:.2}, with {publishes:.1} publishes/s. {place}:\n"
        )?;
        text.push_str(&self.toml);
        Ok(text)
    }
}

//! Has the judge look at the running bridge, and tells what it says.

use std::sync::Arc;
use std::time::Instant;

use super::BehindState;
use super::judge::{Judge, News};
use crate::health::TopicHealth;
use crate::health::report::Behind;
use iot_bridge_core::config::{Aws, Quotas};
use iot_bridge_core::tally::Span;
use iot_bridge_core::uplink::{Phase, UplinkState};

/// What comes against what leaves.
#[derive(Debug)]
pub struct Balance {
    judge: Judge,
    quotas: Quotas,
    thing: String,
    state: Arc<BehindState>,
}

impl Balance {
    /// Of a bridge with these settings. How it stands is to be read from `state`.
    pub fn new(judge: Judge, aws: &Aws, quotas: &Quotas, state: Arc<BehindState>) -> Balance {
        Balance { judge, quotas: quotas.clone(), thing: aws.thing.clone(), state }
    }

    /// Looks at `now`. To be called about once a second.
    pub fn look(&mut self, now: Instant, uplink: &UplinkState, topics: &[Arc<TopicHealth>]) {
        if matches!(uplink.phase, Phase::Connected { .. }) {
            let news = if uplink.set_aside.is_empty() {
                self.judge.look(now, &self.quotas, topics)
            } else {
                let flows = |topic: &&Arc<TopicHealth>| !topic.is_set_aside(&self.thing, uplink);
                let flowing: Vec<_> = topics.iter().filter(flows).cloned().collect();
                self.judge.look(now, &self.quotas, &flowing)
            };
            news.iter().for_each(tell);
        } else {
            self.judge.disconnected();
        }
        self.state.set(self.judge.behind().cloned());
    }

    /// `None` while the bridge keeps up.
    pub fn behind(&self) -> Option<&Behind> {
        self.judge.behind()
    }
}

fn tell(news: &News) {
    match news {
        News::Begins(behind) => {
            let advice: String = behind.advice.iter().map(|advice| format!(" {advice}.")).collect();
            tracing::warn!("{}. What waits grows until the queue is full.{advice}", behind.sentence());
        }
        News::Over(lasted) => {
            let lasted = Span(lasted.as_secs());
            tracing::info!("The bridge keeps up again, after {lasted}: what waits has stopped growing.");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ros::TopicState;
    use iot_bridge_core::config::UNNAMED;
    use iot_bridge_core::topics::Registry;

    /// What waits because the broker refuses its topic is no backlog, also where type and thing were filled in later; once
    /// it may flow and does not, it is. Without a connection nothing is.
    #[test]
    fn what_the_broker_refuses_is_no_backlog() {
        let aws = Aws { thing: UNNAMED.to_owned(), ..aws() };
        let quotas = Quotas { publishes_per_second: Some(100), bytes_per_second: None, in_flight: 100 };
        let state = Arc::new(BehindState::default());
        let mut balance = Balance::new(Judge::default(), &aws, &quotas, Arc::clone(&state));
        let topic = TopicHealth::new(Registry::default().topic("/odom", "robots/{thing}/{type}"));
        topic.set_state(TopicState::Subscribed {
            type_name: "nav_msgs/msg/Odometry".into(),
            publishers: 1,
            incompatible: 0,
            redefined: 0,
            unmatched: None,
        });
        let topics = [Arc::new(topic)];
        let start = Instant::now();
        let mut second = 0;
        let mut look = |uplink: &UplinkState, seconds| {
            for _ in 0..seconds {
                second += 1;
                // Ten come, and one leaves.
                (0..10).for_each(|_| topics[0].counters.enter_queue());
                topics[0].counters.leave_queue_by(1);
                topics[0].counters.count_acknowledged();
                balance.look(start + Duration::from_secs(second), uplink, &topics);
            }
            state.read().is_some()
        };
        let connected = UplinkState {
            phase: Phase::Connected { since: start },
            provisioned: Some("robot1".into()),
            ..UplinkState::default()
        };
        for to in ["robots/robot1/nav_msgs/msg/Odometry", "robots/robot1/nav_msgs/msg/Odometry/zstd"] {
            let set_aside = UplinkState { set_aside: vec![to.into()], ..connected.clone() };
            assert!(!look(&set_aside, 120), "{to}");
        }
        assert!(!look(&UplinkState::default(), 120));
        let other = UplinkState { set_aside: vec!["robots/robot1/other".into()], ..connected.clone() };
        assert!(look(&other, 60) && look(&connected, 60));
        assert!(!look(&UplinkState::default(), 1));
    }

    fn aws() -> Aws {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        let text = "[aws]\nendpoint = \"localhost\"\nthing = \"robot1\"\ncertificate = \"-\"\nprivate_key = \"-\"\n\
                    [[topics]]\nros = \"/odom\"\n";
        std::fs::write(&path, text).unwrap();
        iot_bridge_core::config::load_file(&path, []).unwrap().settings.aws
    }
}

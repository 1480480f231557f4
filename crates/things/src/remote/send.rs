//! Sending configurations as desired states, and waiting for what robots report.

use std::collections::BTreeMap;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::before;
use super::configuration::{Configuration, without_others};
use super::outcome::{Outcome, Outcomes};
use super::robot::Robot;
use super::targets::list;
use super::wait::{bar, interrupt, is_over, wait};
use crate::aws::Aws;
use crate::cli::WaitArgs;
use crate::each::each;
use crate::stop::Stop;
use iot_bridge_core::remote::jobs;
use iot_bridge_core::shadows::DOCUMENT_LIMIT;

/// The version that is desired of a robot which is to take its own configuration. Without any AWS IoT Core would send no delta,
/// and the robot would notice within the hour only.
const LOCAL: &str = "local";

/// Bytes that are left for what a robot reports, whatever it has reported so far: all of it with a problem or two.
const ROOM: usize = 1024;

/// What `{"desired":…,"reported":…}` has beside the two.
const FRAME: usize = r#"{"desired":,"reported":}"#.len();

/// Robots that are asked before the time is looked at again.
const AT_A_TIME: usize = 64;

/// What one robot is to be.
#[derive(Debug, Clone)]
pub struct Order {
    pub robot: Robot,
    /// `None`: what its own files say.
    pub to: Option<Configuration>,
}

impl Order {
    pub fn version(&self) -> &str {
        self.to.as_ref().map_or(LOCAL, |to| &to.version)
    }

    /// What `desired` is to become. What is null is taken away.
    fn desired(&self) -> Value {
        let before = self.robot.desired.as_ref();
        match &self.to {
            Some(to) => to.desired(before),
            None => {
                let mut desired = without_others(before);
                desired.insert("version".to_owned(), LOCAL.into());
                desired.into()
            }
        }
    }

    /// Bytes of `desired`, and of what is or will be reported beside it.
    fn sizes(&self) -> (usize, usize) {
        let desired =
            self.to.as_ref().map_or(0, |to| json!({ "version": to.version, "config": to.sections }).to_string().len());
        let reported = self.robot.reported.as_ref().map_or(0, |reported| json!(reported).to_string().len());
        (desired, reported)
    }
}

/// Whether everything fits into the shadows.
///
/// # Errors
/// If not; it names the sizes, and a way that has more room.
pub fn check_sizes(orders: &[Order]) -> Result<(), Stop> {
    let too_large = |order: &&Order| {
        let (desired, reported) = order.sizes();
        desired + reported.max(ROOM) + FRAME > DOCUMENT_LIMIT
    };
    let names: Vec<&String> = orders.iter().filter(too_large).map(|order| &order.robot.thing).collect();
    let Some(largest) = orders.iter().filter(too_large).max_by_key(|order| order.sizes().1) else { return Ok(()) };
    let (desired, reported) = largest.sizes();
    Err(Stop::Failed(format!(
        "the configuration is too large for the shadow of {}: `desired` would have {desired} bytes, `reported` of {} has \
         {reported} and needs {ROOM} at least, and a shadow holds {DOCUMENT_LIMIT} in all. Nothing was sent. With --job robots \
         that have `jobs = true` take up to {} bytes",
        list(names),
        largest.robot.thing,
        jobs::DOCUMENT_LIMIT,
    )))
}

/// Makes each order the desired state, unless it is that already, and keeps what was desired before. Then waits for the robots.
/// The table of what has become of it is printed, and the exit status is that of [`Outcomes::print`].
///
/// # Errors
/// If nothing could be sent.
pub async fn send(aws: &Arc<Aws>, orders: Vec<Order>, shadow: &str, arguments: &WaitArgs) -> Result<ExitCode, Stop> {
    check_sizes(&orders)?;
    let named = orders.iter().map(|order| (order.robot.thing.clone(), order.version().to_owned()));
    let mut outcomes = Outcomes::new(named);
    let failure = desire(aws, &orders, shadow, &mut outcomes).await;
    let is_nothing_sent = outcomes.of.values().all(|row| row.outcome == Outcome::NotSent);
    if let Some(failure) = failure {
        if is_nothing_sent {
            return Err(failure);
        }
        outcomes.print(arguments.json)?;
        return Err(match failure {
            Stop::Failed(why) => Stop::Failed(format!("{why}\nGo on with the things that are told as not sent")),
            other => other,
        });
    }
    if !arguments.no_wait && !outcomes.interrupted {
        wait_for(aws, &orders, shadow, arguments.timeout, &mut outcomes).await;
    }
    outcomes.print(arguments.json)
}

/// Writes the desired states. Returns the failure that ended it, if one did.
async fn desire(aws: &Arc<Aws>, orders: &[Order], shadow: &str, outcomes: &mut Outcomes) -> Option<Stop> {
    let bar = bar("Writing the shadows of", orders.len());
    let mut interrupt = pin!(interrupt());
    for some in orders.chunks(AT_A_TIME) {
        if is_over(interrupt.as_mut()).await {
            outcomes.interrupted = true;
            break;
        }
        let names: Vec<String> = some.iter().map(|order| order.robot.thing.clone()).collect();
        let by_name = by_name(some);
        let results = each(&names, &bar, |thing| {
            let (aws, shadow) = (Arc::clone(aws), shadow.to_owned());
            let order = by_name.get(thing.as_str()).map(|&order| order.clone());
            async move {
                if let Some(order) = order {
                    desire_one(&aws, &order, &shadow).await?;
                }
                Ok(thing)
            }
        })
        .await;
        for thing in &results.done {
            outcomes.set(thing, Outcome::Sent);
        }
        if let Some(failure) = results.failures.into_iter().next() {
            bar.finish_and_clear();
            return Some(failure);
        }
    }
    bar.finish_and_clear();
    None
}

async fn desire_one(aws: &Aws, order: &Order, shadow: &str) -> Result<(), Stop> {
    let (robot, wish) = (&order.robot, order.robot.wish());
    if wish != order.to || robot.desired.is_none() {
        before::keep(aws, &robot.thing, shadow, wish.as_ref()).await?;
    } else if !robot.has_others() {
        return Ok(());
    }
    let document = json!({ "state": { "desired": order.desired() } });
    Ok(aws.update_shadow(&robot.thing, shadow, &document).await?)
}

async fn wait_for(aws: &Arc<Aws>, orders: &[Order], shadow: &str, timeout: Duration, outcomes: &mut Outcomes) {
    let by_name = by_name(orders);
    let ask = async |things: Vec<String>| {
        let robots = each(&things, &ProgressBar::hidden(), |thing| {
            let (aws, shadow) = (Arc::clone(aws), shadow.to_owned());
            let version = by_name.get(thing.as_str()).and_then(|order| order.to.as_ref()).map(|to| to.version.clone());
            async move {
                let outcome = match Robot::ask(&aws, &thing, &shadow).await {
                    Ok(robot) => robot.outcome(version.as_deref()),
                    Err(stop) => Outcome::Silent(stop.sentence()),
                };
                Ok((thing, outcome))
            }
        })
        .await;
        robots.done
    };
    wait(outcomes, timeout, AT_A_TIME, ask).await;
}

fn by_name(orders: &[Order]) -> BTreeMap<&str, &Order> {
    orders.iter().map(|order| (order.robot.thing.as_str(), order)).collect()
}

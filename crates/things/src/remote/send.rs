//! Sending configurations as desired states, and waiting for what robots report.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::before;
use super::configuration::{Configuration, LOCAL, name_of, without_others};
use super::outcome::{Outcome, Outcomes, Row};
use super::robot::Robot;
use super::targets::list;
use super::wait::{bar, interrupt, is_over, wait};
use crate::aws::Aws;
use crate::cli::WaitArgs;
use crate::each::{each, each_apart};
use crate::failure::{Failure, Kind};
use crate::stop::Stop;
use iot_bridge_core::remote::jobs;
use iot_bridge_core::shadows::DOCUMENT_LIMIT;

/// Bytes that are left for what a robot reports, whatever it has reported so far: all of it with a problem or two.
const ROOM: usize = 1024;

/// What `{"desired":…,"reported":…}` has beside the two.
const FRAME: usize = r#"{"desired":,"reported":}"#.len();

/// Robots that are asked before the time is looked at again.
const AT_A_TIME: usize = 64;

/// A shadow that is changed by others all the time, such as by reports, is written to so many times.
const ATTEMPTS: u32 = 5;

/// What comes first: a failure may come between the two writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What is desired is kept as what was before, then the new state is desired: at worst the way back is the same as before.
    Forth,
    /// What was before is desired, then what was desired is kept: at worst it can't be undone.
    Back,
}

/// What is sent to whom.
#[derive(Debug)]
pub struct Plan {
    pub way: Way,
    pub orders: Vec<Order>,
    /// The things to which nothing is sent, and why.
    pub others: BTreeMap<String, Row>,
}

impl Plan {
    /// Nothing yet, and the things of which AWS does not tell.
    pub fn new(way: Way, failed: impl IntoIterator<Item = (String, Failure)>) -> Plan {
        let row = |failure: Failure| Row { version: "-".into(), outcome: Outcome::Failed(failure.sentence) };
        let others = failed.into_iter().map(|(thing, failure)| (thing, row(failure))).collect();
        Plan { way, orders: Vec::new(), others }
    }
}

/// What one robot is to be.
#[derive(Debug, Clone)]
pub struct Order {
    pub robot: Robot,
    /// `None`: what its own files say.
    pub to: Option<Configuration>,
}

impl Order {
    pub fn version(&self) -> &str {
        name_of(self.to.as_ref())
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
/// If nothing could be sent, or what is left was not begun because of failures.
pub async fn send(aws: &Arc<Aws>, plan: Plan, shadow: &str, arguments: &WaitArgs) -> Result<ExitCode, Stop> {
    check_sizes(&plan.orders)?;
    let named = plan.orders.iter().map(|order| (order.robot.thing.clone(), order.version().to_owned()));
    let mut outcomes = Outcomes::new(named);
    outcomes.of.extend(plan.others.clone());
    let desired = desire(aws, &plan, shadow, &mut outcomes).await;
    for note in &desired.notes {
        eprintln!("{note}.");
    }
    let is_nothing_sent = outcomes.of.values().all(|row| matches!(row.outcome, Outcome::NotSent | Outcome::Failed(_)));
    if is_nothing_sent && let Some(failure) = desired.failure {
        return Err(failure.into());
    }
    if let Some(Failure { sentence, .. }) = desired.stopped {
        outcomes.print(arguments.json)?;
        let again = match plan.way {
            Way::Forth => "The same push again goes on",
            Way::Back => {
                "Go on with --from and the version that is taken back, which the same command without would bring back"
            }
        };
        return Err(Stop::Failed(format!("{sentence}\n{again}")));
    }
    if !arguments.no_wait && !outcomes.interrupted {
        wait_for(aws, &plan.orders, &desired.written, shadow, arguments.timeout, &mut outcomes).await;
    }
    outcomes.print(arguments.json)
}

/// What came of writing the desired states, beside the outcomes.
#[derive(Debug, Default)]
struct Desired {
    /// The things whose shadow was written.
    written: HashSet<String>,
    /// What somebody should know of single things, in sentences without their full stops.
    notes: Vec<String>,
    /// The first failure.
    failure: Option<Failure>,
    /// The failure that ended it, if one did.
    stopped: Option<Failure>,
}

/// What came of one order.
#[derive(Debug)]
struct Done {
    thing: String,
    outcome: Outcome,
    is_written: bool,
    note: Option<String>,
}

/// Writes the desired states.
async fn desire(aws: &Arc<Aws>, plan: &Plan, shadow: &str, outcomes: &mut Outcomes) -> Desired {
    let bar = bar("Writing the shadows of", plan.orders.len());
    let mut interrupt = pin!(interrupt());
    let mut desired = Desired::default();
    for some in plan.orders.chunks(AT_A_TIME) {
        if is_over(interrupt.as_mut()).await {
            outcomes.interrupted = true;
            break;
        }
        let names: Vec<String> = some.iter().map(|order| order.robot.thing.clone()).collect();
        let by_name = by_name(some);
        let results = each_apart(&names, &bar, |thing| {
            let (aws, shadow, way) = (Arc::clone(aws), shadow.to_owned(), plan.way);
            let order = by_name.get(thing.as_str()).map(|&order| order.clone());
            async move {
                match order {
                    Some(order) => desire_one(&aws, &order, way, &shadow).await,
                    None => Err(Failure::other(format!("{thing} is not meant"))),
                }
            }
        })
        .await;
        for Done { thing, outcome, is_written, note } in results.done {
            outcomes.set(&thing, outcome);
            desired.notes.extend(note);
            if is_written {
                desired.written.insert(thing);
            }
        }
        for (thing, failure) in results.failed {
            outcomes.set(
                &thing,
                match failure.kind {
                    Kind::Unanswered => Outcome::Unknown(failure.sentence.clone()),
                    _ => Outcome::Failed(failure.sentence.clone()),
                },
            );
            desired.failure.get_or_insert(failure);
        }
        desired.stopped = results.stopped;
        if desired.stopped.is_some() {
            break;
        }
    }
    bar.finish_and_clear();
    desired
}

/// Carries out one order. A failure of the kind `Unanswered` is of the desired state alone.
async fn desire_one(aws: &Aws, order: &Order, way: Way, shadow: &str) -> Result<Done, Failure> {
    let (robot, wish) = (&order.robot, order.robot.wish());
    let thing = robot.thing.clone();
    let is_new = wish != order.to || robot.desired.is_none();
    if !is_new && !robot.has_others() {
        return Ok(Done { thing, outcome: Outcome::Sent, is_written: false, note: None });
    }
    if is_new && way == Way::Forth {
        // The desired state is not touched yet, whatever was heard.
        let is_known = |failure: Failure| match failure.kind {
            Kind::Unanswered => Failure { kind: Kind::Other, ..failure },
            _ => failure,
        };
        before::keep(aws, &thing, shadow, wish.as_ref()).await.map_err(is_known)?;
    }
    let outcome = write(aws, order, shadow).await?;
    let mut note = None;
    if is_new && way == Way::Back && outcome == Outcome::Sent {
        let kept = before::keep(aws, &thing, shadow, wish.as_ref()).await;
        note = kept.err().map(|failure| {
            let version = name_of(wish.as_ref());
            format!(
                "{thing} goes back, but no rollback can undo it, as version {version} was not kept: {}",
                failure.sentence
            )
        });
    }
    Ok(Done { thing, is_written: outcome == Outcome::Sent, outcome, note })
}

/// Writes the desired state, unless somebody else has meanwhile: the number of the document goes along, and reports raise it too.
async fn write(aws: &Aws, order: &Order, shadow: &str) -> Result<Outcome, Failure> {
    let Order { robot, .. } = order;
    let mut document = json!({ "state": { "desired": order.desired() } });
    let mut number = robot.document;
    for _ in 0..ATTEMPTS {
        if let Some(number) = number {
            document["version"] = number.into();
        }
        let failure = match aws.update_shadow(&robot.thing, shadow, &document).await {
            Ok(()) => return Ok(Outcome::Sent),
            Err(failure) if matches!(failure.kind, Kind::InUse | Kind::Unanswered) => failure,
            Err(failure) => return Err(failure),
        };
        // A lost answer, or our own update that was sent twice because of one, shows here.
        let now = match (Robot::ask(aws, &robot.thing, shadow).await, failure.kind) {
            (Ok(now), _) => now,
            (Err(_), Kind::Unanswered) => return Err(failure),
            (Err(other), _) => return Err(other),
        };
        if now.desired.is_some()
            && now.wish() == order.to
            && !now.has_others()
            && now.desired_version() == order.version()
        {
            return Ok(Outcome::Sent);
        }
        if now.desired != robot.desired {
            return Ok(Outcome::Failed(
                "it was changed meanwhile by somebody else; `config show` tells what is desired".into(),
            ));
        }
        if failure.kind == Kind::Unanswered {
            return Err(failure);
        }
        number = now.document;
    }
    Ok(Outcome::Failed(format!("its shadow changed {ATTEMPTS} times while it was written to")))
}

async fn wait_for(
    aws: &Arc<Aws>,
    orders: &[Order],
    written: &HashSet<String>,
    shadow: &str,
    timeout: Duration,
    outcomes: &mut Outcomes,
) {
    let by_name = by_name(orders);
    let ask = async |things: Vec<String>| {
        let robots = each(&things, &ProgressBar::hidden(), |thing| {
            let (aws, shadow) = (Arc::clone(aws), shadow.to_owned());
            let order = by_name.get(thing.as_str()).map(|&order| order.clone());
            let is_written = written.contains(&thing);
            async move {
                let outcome = match (Robot::ask(&aws, &thing, &shadow).await, order) {
                    (Ok(now), Some(Order { robot, to })) => {
                        now.outcome_since(&robot, is_written, to.as_ref().map(|to| to.version.as_str()))
                    }
                    (Ok(now), None) => now.outcome(None),
                    (Err(failure), _) => Outcome::Silent(failure.sentence),
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

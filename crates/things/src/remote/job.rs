//! A configuration as an IoT job: AWS rolls it out, slowly if it is told to, and stops where too many robots fail.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::process::ExitCode;
use std::sync::Arc;

use aws_sdk_iot::error::BuildError;
use aws_sdk_iot::types::{
    AbortAction, AbortConfig, AbortCriteria, ExponentialRolloutRate, JobExecutionFailureType, JobExecutionStatus,
    JobExecutionsRolloutConfig, RateIncreaseCriteria, TimeoutConfig,
};
use serde_json::json;

use super::configuration::Configuration;
use super::outcome::{Outcome, Outcomes};
use super::targets;
use super::wait::{bar, interrupt, wait};
use crate::aws::{Aws, Job};
use crate::cli::{JobArgs, TargetArgs, WaitArgs};
use crate::each::each;
use crate::stop::Stop;
use iot_bridge_core::remote::jobs::{DOCUMENT_LIMIT, OPERATION};

/// Most targets of a job, things and groups together (AWS IoT Device Management quotas).
const MOST_TARGETS: usize = 100;

/// Minutes that a robot has which has begun, where failures are to stop the job: AWS counts executions that have ended, and one
/// that has cut its robot off would never end.
const TIME_OUT: u16 = 60;

/// Longest id of a job (CreateJob, AWS IoT API Reference: `[a-zA-Z0-9_-]+`).
const LONGEST_ID: usize = 64;

/// Failed robots that are asked before what they say is told.
const AT_A_TIME: usize = 64;

/// A job that is not made yet.
#[derive(Debug)]
pub struct Order {
    id: String,
    version: String,
    document: String,
    roll_out: Option<JobExecutionsRolloutConfig>,
    abort: Option<AbortConfig>,
    timeout: Option<TimeoutConfig>,
}

impl Order {
    /// # Errors
    /// If the configuration is too large for a job.
    pub fn new(configuration: &Configuration, arguments: &JobArgs) -> Result<Order, Stop> {
        let Configuration { version, sections } = configuration;
        let document = json!({ "operation": OPERATION, "version": version, "config": sections }).to_string();
        if document.len() > DOCUMENT_LIMIT {
            return Err(Stop::Failed(format!(
                "the configuration is too large: the document of the job would have {} bytes, and {DOCUMENT_LIMIT} is what AWS IoT \
                 takes. Patterns in `ros` say more in fewer entries",
                document.len()
            )));
        }
        let unusable = |error: BuildError| Stop::Failed(error.to_string());
        Ok(Order {
            id: id(version),
            version: version.clone(),
            document,
            roll_out: roll_out(arguments).map_err(unusable)?,
            abort: abort(arguments).map_err(unusable)?,
            timeout: time_out(arguments)
                .map(|minutes| TimeoutConfig::builder().in_progress_timeout_in_minutes(i64::from(minutes)).build()),
        })
    }

    /// Makes the job and waits for `things`, which its targets stand for.
    pub async fn carry_out(
        self,
        aws: &Arc<Aws>,
        things: &[String],
        target: &TargetArgs,
        arguments: &WaitArgs,
    ) -> Result<ExitCode, Stop> {
        let count = target.thing.len() + target.group.len();
        if count > MOST_TARGETS {
            return Err(Stop::Usage(format!(
                "a job has at most {MOST_TARGETS} things and groups, and these are {count}; put the things into a thing group"
            )));
        }
        targets::exist(aws, &target.thing).await?;
        let prefix = aws.place.prefix();
        let named = target.thing.iter().map(|thing| format!("{prefix}thing/{thing}"));
        let groups = target.group.iter().map(|group| format!("{prefix}thinggroup/{group}"));
        let Order { id, version, document, roll_out, abort, timeout } = self;
        let description = format!("iot-bridge: configuration {version}");
        let targets = named.chain(groups).collect();
        aws.create_job(Job { id: id.clone(), targets, document, description, roll_out, abort, timeout }).await?;
        eprintln!("The job {id} is made; `aws iot cancel-job --job-id {id}` stops it.");
        let mut outcomes = Outcomes::new(things.iter().map(|thing| (thing.clone(), version.clone())));
        outcomes.job = Some(id.clone());
        for thing in things {
            outcomes.set(thing, Outcome::Sent);
        }
        if !arguments.no_wait {
            let failed = RefCell::new(BTreeSet::new());
            let ask = async |things: Vec<String>| ask(aws, &id, things, &failed).await;
            wait(&mut outcomes, arguments.timeout, usize::MAX, ask).await;
            tokio::select! {
                biased;
                () = interrupt() => outcomes.interrupted = true,
                () = tell_why(aws, &id, failed.into_inner(), &mut outcomes) => {}
            }
        }
        outcomes.print(arguments.json)
    }
}

/// How far the job is with each of `things`. Why it has failed is asked later, for all that stand in `failed` then: what is
/// known of the others does not wait for that.
async fn ask(
    aws: &Arc<Aws>,
    job: &str,
    things: Vec<String>,
    failed: &RefCell<BTreeSet<String>>,
) -> Vec<(String, Outcome)> {
    let asked = async { Ok((aws.job_is_over(job).await?, aws.job_executions(job).await?)) };
    let (is_over, executions) = match asked.await {
        Ok(answers) => answers,
        Err(stop) => {
            let stop: Stop = stop;
            return things.into_iter().map(|thing| (thing, Outcome::Silent(stop.sentence()))).collect();
        }
    };
    let outcome = |thing: String| {
        let outcome = match executions.get(&thing) {
            Some(JobExecutionStatus::Failed | JobExecutionStatus::Rejected) => {
                let why = format!(
                    "it has failed; `aws iot describe-job-execution --job-id {job} --thing-name {thing}` says why"
                );
                failed.borrow_mut().insert(thing.clone());
                Outcome::Ended(why)
            }
            Some(status) => outcome_by(status),
            None if is_over => Outcome::Ended("the job was over before it came to this robot".into()),
            None => Outcome::Silent("the job has not come to this robot yet".into()),
        };
        (thing, outcome)
    };
    things.into_iter().map(outcome).collect()
}

/// Sets what the robots say for which the job has failed.
async fn tell_why(aws: &Arc<Aws>, job: &str, failed: BTreeSet<String>, outcomes: &mut Outcomes) {
    let failed: Vec<String> = failed.into_iter().collect();
    let bar = bar("Asking why it failed for", failed.len());
    for some in failed.chunks(AT_A_TIME) {
        let details = each(some, &bar, |thing| {
            let (aws, job) = (Arc::clone(aws), job.to_owned());
            async move {
                let details = aws.job_details(&job, &thing).await;
                Ok((thing, details.map_err(|failure| failure.sentence)))
            }
        })
        .await;
        for (thing, details) in details.done {
            outcomes
                .set(&thing, details.map_or_else(|why| Outcome::Rejected(vec![why]), |details| outcome_of(&details)));
        }
    }
    bar.finish_and_clear();
}

/// What a robot says that has failed: `state`, `problem1`, `problem2` and so on, of `problems` in all.
fn outcome_of(details: &HashMap<String, String>) -> Outcome {
    let listed = (1..).map_while(|number| details.get(&format!("problem{number}")));
    let mut problems: Vec<String> = listed.cloned().collect();
    let count = details.get("problems").and_then(|count| count.parse().ok()).unwrap_or(problems.len());
    if let Some(more @ 1..) = count.checked_sub(problems.len()) {
        problems.push(format!("{more} more; `iot-bridge status` on the robot shows all"));
    }
    let ended = |what: String| Outcome::Ended([vec![what], problems.clone()].concat().join("\n"));
    match details.get("state").map(String::as_str) {
        Some("rolled_back") => Outcome::RolledBack(problems),
        // Of a document that the robot could not read it says problems only.
        Some("rejected") | None => Outcome::Rejected(problems),
        Some("replaced") => ended("something else was desired of the robot before this was confirmed".into()),
        Some(other) => ended(format!("the robot says {other}")),
    }
}

/// What there is to say of the others.
fn outcome_by(status: &JobExecutionStatus) -> Outcome {
    match status {
        JobExecutionStatus::Succeeded => Outcome::Applied,
        JobExecutionStatus::InProgress => Outcome::Silent("it has begun".into()),
        JobExecutionStatus::Queued => {
            Outcome::Silent("it has not begun; does it run, with `jobs = true` in its [remote]?".into())
        }
        JobExecutionStatus::TimedOut => Outcome::Ended("it had begun, and its time is over".into()),
        JobExecutionStatus::Canceled | JobExecutionStatus::Removed => Outcome::Ended("the job was canceled".into()),
        other => Outcome::Silent(format!("AWS IoT says {}", other.as_str())),
    }
}

/// Another id each time: one that was used is not free again.
fn id(version: &str) -> String {
    let random = format!("-{:08x}", rand::random::<u32>());
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let name: String = format!("iot-bridge-{version}").chars().map(fits).take(LONGEST_ID - random.len()).collect();
    name + &random
}

fn roll_out(arguments: &JobArgs) -> Result<Option<JobExecutionsRolloutConfig>, BuildError> {
    let Some(per_minute) = arguments.per_minute else { return Ok(None) };
    let config = JobExecutionsRolloutConfig::builder();
    let config = match arguments.increase {
        None => config.maximum_per_minute(per_minute),
        Some(factor) => config.exponential_rate(
            ExponentialRolloutRate::builder()
                .base_rate_per_minute(per_minute)
                .increment_factor(factor)
                .rate_increase_criteria(RateIncreaseCriteria::builder().number_of_succeeded_things(per_minute).build())
                .build()?,
        ),
    };
    Ok(Some(config.build()))
}

fn time_out(arguments: &JobArgs) -> Option<u16> {
    arguments.in_progress_timeout.or(arguments.abort_after.map(|_| TIME_OUT))
}

fn abort(arguments: &JobArgs) -> Result<Option<AbortConfig>, BuildError> {
    let Some(percent) = arguments.abort_after else { return Ok(None) };
    let criteria = AbortCriteria::builder()
        .failure_type(JobExecutionFailureType::All)
        .action(AbortAction::Cancel)
        .threshold_percentage(percent)
        .min_number_of_executed_things(arguments.min_executed)
        .build()?;
    AbortConfig::builder().criteria_list(criteria).build().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An id is one that AWS IoT takes, whatever the version.
    #[test]
    fn any_version_makes_an_id() {
        for version in ["7", "v1.2 (hall 3)", &"ü".repeat(64)] {
            let id = id(version);
            assert!(
                id.len() <= LONGEST_ID && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)),
                "{id}"
            );
        }
    }

    /// Where failures stop the job, a robot that says nothing any more is one in the end.
    #[test]
    fn a_robot_that_goes_dark_has_failed() {
        let arguments = |abort_after, in_progress_timeout| JobArgs {
            job: true,
            per_minute: None,
            increase: None,
            abort_after,
            min_executed: 10,
            in_progress_timeout,
        };
        assert_eq!(time_out(&arguments(Some(5.0), None)), Some(60));
        assert_eq!(time_out(&arguments(Some(5.0), Some(15))), Some(15));
        assert_eq!(time_out(&arguments(None, None)), None);
    }

    /// What a robot says of a failure is told, and how much it has not said.
    #[test]
    fn a_failure_is_told() {
        let details = |pairs: &[(&str, &str)]| {
            outcome_of(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(
            details(&[("state", "rolled_back"), ("problems", "1"), ("problem1", "no answer")]),
            Outcome::RolledBack(vec!["no answer".into()])
        );
        let Outcome::Rejected(problems) =
            details(&[("state", "rejected"), ("problems", "3"), ("problem1", "a"), ("problem2", "b")])
        else {
            panic!("rejected")
        };
        assert_eq!((&problems[..2], problems[2].starts_with("1 more")), (&["a".to_owned(), "b".to_owned()][..], true));
        assert_eq!(details(&[]), Outcome::Rejected(Vec::new()));
        for (state, words) in [("replaced", "something else was desired"), ("shelved", "the robot says shelved")] {
            let Outcome::Ended(why) = details(&[("state", state), ("problems", "1"), ("problem1", "by job 8")]) else {
                panic!("{state}")
            };
            assert!(why.starts_with(words) && why.ends_with("\nby job 8"), "{why}");
        }
    }
}

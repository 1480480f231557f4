//! The calls about thing groups and IoT jobs.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_iot::types::{
    AbortConfig, JobExecutionStatus, JobExecutionsRolloutConfig, JobStatus, TargetSelection, TimeoutConfig,
};

use super::Aws;
use super::calls::{call, if_there, list};
use crate::failure::{Failure, Kind};

/// A job to be made.
#[derive(Debug)]
pub struct Job {
    pub id: String,
    /// ARNs of things and thing groups.
    pub targets: Vec<String>,
    pub document: String,
    pub description: String,
    pub roll_out: Option<JobExecutionsRolloutConfig>,
    pub abort: Option<AbortConfig>,
    pub timeout: Option<TimeoutConfig>,
}

impl Aws {
    /// The names of the things of a group and of the groups in it; `None` if there is no such group.
    pub async fn things_in(&self, group: &str) -> Result<Option<Vec<String>>, Failure> {
        let request = self.client.list_things_in_thing_group().thing_group_name(group).recursive(true);
        if_there(list!(self, "iot:ListThingsInThingGroup", group, request, things, next_token))
    }

    /// Makes a job, and looks whether it is there if AWS does not answer. Its id has to be one that nobody else makes.
    pub async fn create_job(&self, job: Job) -> Result<(), Failure> {
        let request = self
            .client
            .create_job()
            .job_id(&job.id)
            .set_targets(Some(job.targets))
            .target_selection(TargetSelection::Snapshot)
            .document(job.document)
            .description(job.description)
            .set_job_executions_rollout_config(job.roll_out)
            .set_abort_config(job.abort)
            .set_timeout_config(job.timeout);
        let Err(failure) = call!(self, "iot:CreateJob", &job.id, request) else { return Ok(()) };
        match failure.kind {
            // By this call: it was sent again when the answer got lost.
            Kind::Exists => Ok(()),
            Kind::Unanswered => {
                let id = &job.id;
                let found = call!(self, "iot:DescribeJob", id, self.client.describe_job().job_id(id));
                found.map(drop).map_err(|_| Failure {
                    sentence: format!(
                        "{}\nThe job {id} may be made all the same: `aws iot describe-job --job-id {id}` says so, and \
                         `aws iot cancel-job --job-id {id}` stops it. The same command again makes another job",
                        failure.sentence
                    ),
                    ..failure
                })
            }
            _ => Err(failure),
        }
    }

    /// Whether a job was completed or canceled, so that it comes to no other thing.
    pub async fn job_is_over(&self, job: &str) -> Result<bool, Failure> {
        let answer = call!(self, "iot:DescribeJob", job, self.client.describe_job().job_id(job))?;
        let status = answer.job.and_then(|job| job.status);
        Ok(matches!(status, Some(JobStatus::Completed | JobStatus::Canceled | JobStatus::DeletionInProgress)))
    }

    /// How far a job is with each thing that it has reached, by the things' names.
    pub async fn job_executions(&self, job: &str) -> Result<BTreeMap<String, JobExecutionStatus>, Failure> {
        let request = self.client.list_job_executions_for_job().job_id(job);
        let all = list!(self, "iot:ListJobExecutionsForJob", job, request, execution_summaries, next_token)?;
        let execution = |execution: aws_sdk_iot::types::JobExecutionSummaryForJob| {
            let thing = execution.thing_arn?.rsplit_once(":thing/")?.1.to_owned();
            Some((thing, execution.job_execution_summary?.status?))
        };
        Ok(all.into_iter().filter_map(execution).collect())
    }

    /// What a thing says of its part of a job.
    pub async fn job_details(&self, job: &str, thing: &str) -> Result<HashMap<String, String>, Failure> {
        let request = self.client.describe_job_execution().job_id(job).thing_name(thing);
        match call!(self, "iot:DescribeJobExecution", thing, request) {
            Err(failure) if failure.kind == Kind::NotFound => Ok(HashMap::new()),
            Err(failure) => Err(failure),
            Ok(answer) => {
                let details = answer.execution.and_then(|execution| execution.status_details);
                Ok(details.and_then(|details| details.details_map).unwrap_or_default())
            }
        }
    }
}

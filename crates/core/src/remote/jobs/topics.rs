//! The topics of the Jobs service ("Jobs device MQTT API" in the developer guide of AWS IoT Core).

use super::JobId;
use crate::config::fill_thing;

/// What precedes the topics of a thing's jobs. The name of the thing is open in it, for [`fill_thing`].
const PREFIX: &str = "$aws/things/{thing}/jobs/";

/// Something to ask the service for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Which jobs are pending (GetPendingJobExecutions).
    List,
    /// What a job is (DescribeJobExecution).
    Describe(JobId),
    /// UpdateJobExecution.
    Update(JobId),
}

impl Request {
    /// Where it is published. The name of the thing is open.
    pub fn topic(&self) -> String {
        match self {
            Request::List => format!("{PREFIX}get"),
            Request::Describe(job) => format!("{PREFIX}{job}/get"),
            Request::Update(job) => format!("{PREFIX}{job}/update"),
        }
    }
}

/// What has come from the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The list of pending jobs has changed.
    Notify,
    Accepted(Request),
    Rejected(Request),
}

/// What has to be subscribed to. Answers come without a subscription, to the client that has asked alone.
pub fn filter() -> String {
    format!("{PREFIX}notify")
}

/// What a message to `topic` is, for the thing called `thing`. `None` if it is nothing that this program has asked for.
pub fn kind(topic: &str, thing: &str) -> Option<Kind> {
    let rest = topic.strip_prefix(&*fill_thing(PREFIX, thing))?;
    let levels: Vec<_> = rest.split('/').collect();
    let (request, answer) = match levels[..] {
        ["notify"] => return Some(Kind::Notify),
        ["get", answer] => (Request::List, answer),
        [job, "get", answer] => (Request::Describe(JobId::new(job)?), answer),
        [job, "update", answer] => (Request::Update(JobId::new(job)?), answer),
        _ => return None,
    };
    match answer {
        "accepted" => Some(Kind::Accepted(request)),
        "rejected" => Some(Kind::Rejected(request)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request is never taken for an answer, nor what is of another thing, of another service or of no job.
    #[test]
    fn only_answers_are_taken() {
        let job = JobId::new("job-1").unwrap();
        let of = |ending: &str| kind(&format!("$aws/things/robot1/jobs/{ending}"), "robot1");
        assert_eq!(of("notify"), Some(Kind::Notify));
        assert_eq!(of("get/accepted"), Some(Kind::Accepted(Request::List)));
        assert_eq!(of("job-1/get/accepted"), Some(Kind::Accepted(Request::Describe(job.clone()))));
        assert_eq!(of("job-1/update/rejected"), Some(Kind::Rejected(Request::Update(job.clone()))));
        for ending in [
            "get",
            "job-1/get",
            "job-1/update",
            "notify-next",
            "start-next/accepted",
            "$next/get/accepted",
            "a b/get/accepted",
            "/get/accepted",
            "job-1/get/accepted/more",
            "job-1/update/other",
            "",
        ] {
            assert_eq!(of(ending), None, "{ending}");
        }
        assert_eq!(kind("$aws/things/robot2/jobs/notify", "robot1"), None);
        assert_eq!(kind("$aws/things/robot1/shadow/get/accepted", "robot1"), None);
        assert_eq!(Request::Update(job).topic(), "$aws/things/{thing}/jobs/job-1/update");
        assert_eq!(fill_thing(&filter(), "robot1"), "$aws/things/robot1/jobs/notify");
    }
}

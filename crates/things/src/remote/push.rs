//! `iot-bridge-things config push`.

use std::process::ExitCode;
use std::sync::Arc;

use super::configuration::Configuration;
use super::robot::Robot;
use super::send::{Order, Plan, Way, send};
use super::{job, targets};
use crate::aws::Aws;
use crate::cli::{AwsArgs, PushArgs};
use crate::policy::ANY_THING;
use crate::stop::Stop;

pub async fn execute(arguments: PushArgs, aws: &AwsArgs) -> Result<ExitCode, Stop> {
    let PushArgs { file, target, wait, job } = arguments;
    let configuration = Configuration::read(&file)?;
    let source = file.display().to_string();
    // Before AWS is asked, and once more when all names are known.
    configuration.check(&source, &[ANY_THING.to_owned()], &target.shadow)?;
    let job = job.job.then(|| job::Order::new(&configuration, &job)).transpose()?;
    let aws = Arc::new(Aws::connect(aws).await?);
    let things = targets::find(&aws, &target).await?;
    for warning in configuration.check(&source, &things, &target.shadow)? {
        eprintln!("{warning}.");
    }
    if let Some(order) = job {
        return order.carry_out(&aws, &things, &target, &wait).await;
    }
    let (robots, unseen) = targets::look_apart(&aws, &things, &target.shadow).await?;
    is_another_version(&configuration, &robots)?;
    let mut plan = Plan::new(Way::Forth, unseen);
    plan.orders = robots.into_iter().map(|robot| order(robot, &configuration)).collect();
    send(&aws, plan, &target.shadow, &wait).await
}

/// What the robot is to be. A version that was made is of the day: what is desired already under that of another day stays.
fn order(robot: Robot, configuration: &Configuration) -> Order {
    let wish = robot.wish().filter(|wish| configuration.has_made_version() && wish.sections == configuration.sections);
    Order { to: Some(wish.unwrap_or_else(|| configuration.clone())), robot }
}

/// A version stands for one content: else nobody could tell which of the two a report is about.
fn is_another_version(configuration: &Configuration, robots: &[Robot]) -> Result<(), Stop> {
    let clashes = |robot: &&Robot| {
        robot
            .wish()
            .is_some_and(|wish| wish.version == configuration.version && wish.sections != configuration.sections)
    };
    let names: Vec<&String> = robots.iter().filter(clashes).map(|robot| &robot.thing).collect();
    match names.is_empty() {
        true => Ok(()),
        false => Err(Stop::Failed(format!(
            "of {} something else is desired under the same version, {}; give the file another `version`, or none, so that one \
             is made",
            targets::list(names),
            configuration.version
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::json;

    use super::*;
    use crate::remote::configuration::version_of;

    /// The same content under a version that is made on another day is there already; under another version that was given it is
    /// not.
    #[test]
    fn a_day_makes_no_other_version() {
        let sections = json!({ "topics": [{ "ros": "/odom" }] });
        let sections = sections.as_object().cloned().expect("sections");
        let yesterday = version_of(&sections, SystemTime::now() - Duration::from_secs(86_400));
        let desired = json!({ "state": { "desired": { "version": yesterday, "config": sections } } });
        let to = |version: String| {
            let configuration = Configuration { version, sections: sections.clone() };
            order(Robot::read("a", Some(&desired)), &configuration).version().to_owned()
        };
        assert_eq!(to(version_of(&sections, SystemTime::now())), yesterday);
        assert_eq!(to("7".to_owned()), "7");
    }
}

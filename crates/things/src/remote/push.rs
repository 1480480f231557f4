//! `iot-bridge-things config push`.

use std::process::ExitCode;
use std::sync::Arc;

use super::configuration::Configuration;
use super::robot::Robot;
use super::send::{Order, send};
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
    let robots = targets::look(&aws, &things, &target.shadow).await?;
    is_another_version(&configuration, &robots)?;
    let order = |robot| Order { robot, to: Some(configuration.clone()) };
    send(&aws, robots.into_iter().map(order).collect(), &target.shadow, &wait).await
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

//! `iot-bridge-things config rollback`.

use std::process::ExitCode;
use std::sync::Arc;

use super::send::{Order, send};
use super::{before, targets};
use crate::aws::Aws;
use crate::cli::{AwsArgs, RollbackArgs};
use crate::each::each;
use crate::stop::Stop;

pub async fn execute(arguments: RollbackArgs, aws: &AwsArgs) -> Result<ExitCode, Stop> {
    let RollbackArgs { target, wait } = arguments;
    let aws = Arc::new(Aws::connect(aws).await?);
    let things = targets::find(&aws, &target).await?;
    let robots = targets::look(&aws, &things, &target.shadow).await?;
    let found = each(&things, &super::wait::bar("Looking at", things.len()), |thing| {
        let (aws, shadow) = (Arc::clone(&aws), target.shadow.clone());
        async move {
            let before = before::find(&aws, &thing, &shadow).await?;
            Ok((thing, before))
        }
    })
    .await;
    let mut found: std::collections::BTreeMap<_, _> = found.all()?.into_iter().collect();
    let unknown: Vec<&String> = found.iter().filter(|(_, before)| before.is_none()).map(|(thing, _)| thing).collect();
    if !unknown.is_empty() {
        return Err(Stop::Failed(format!(
            "of {} nothing was pushed that another took the place of; nothing was sent",
            targets::list(unknown)
        )));
    }
    let mut orders = Vec::with_capacity(robots.len());
    for robot in robots {
        let to = found.remove(&robot.thing).flatten().flatten();
        if let Some(to) = &to {
            // It may be of a version of the bridge that took more, or less.
            to.check(&format!("version {}", to.version), std::slice::from_ref(&robot.thing), &target.shadow)?;
        }
        orders.push(Order { robot, to });
    }
    send(&aws, orders, &target.shadow, &wait).await
}

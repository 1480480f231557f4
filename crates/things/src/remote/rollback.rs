//! `iot-bridge-things config rollback`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use super::configuration::{Configuration, name_of};
use super::outcome::{Outcome, Row};
use super::robot::Robot;
use super::send::{Order, Plan, Way, send};
use super::{before, targets};
use crate::aws::Aws;
use crate::cli::{AwsArgs, RollbackArgs};
use crate::each::each_apart;
use crate::stop::Stop;

/// What was desired of a robot before, as [`before::find`] finds it.
type Before = Option<Option<Configuration>>;

pub async fn execute(arguments: RollbackArgs, aws: &AwsArgs) -> Result<ExitCode, Stop> {
    let RollbackArgs { target, from, wait } = arguments;
    let aws = Arc::new(Aws::connect(aws).await?);
    let things = targets::find(&aws, &target).await?;
    let (robots, unseen) = targets::look_apart(&aws, &things, &target.shadow).await?;
    let names: Vec<String> = robots.iter().map(|robot| robot.thing.clone()).collect();
    let bar = super::wait::bar("Looking at", names.len());
    let found = each_apart(&names, &bar, |thing| {
        let (aws, shadow) = (Arc::clone(&aws), target.shadow.clone());
        async move {
            let before = before::find(&aws, &thing, &shadow).await?;
            Ok((thing, before))
        }
    })
    .await;
    bar.finish_and_clear();
    let (found, failed) = found.some()?;
    let mut found: BTreeMap<String, Before> = found.into_iter().collect();
    let mut plan = Plan::new(Way::Back, unseen.into_iter().chain(failed));
    let pairs: Vec<(Robot, Before)> =
        robots.into_iter().filter_map(|robot| found.remove(&robot.thing).map(|before| (robot, before))).collect();
    is_clear(&pairs, from.as_deref())?;
    for (robot, before) in pairs {
        let thing = robot.thing.clone();
        let version = name_of(robot.wish().as_ref()).to_owned();
        match order(robot, before, from.as_deref()).and_then(|order| is_taken(order, &target.shadow)) {
            Ok(order) => plan.orders.push(order),
            Err(outcome) => drop(plan.others.insert(thing, Row { version, outcome })),
        }
    }
    send(&aws, plan, &target.shadow, &wait).await
}

/// What is to be done with one robot, or why nothing is.
fn order(robot: Robot, before: Before, from: Option<&str>) -> Result<Order, Outcome> {
    let wish = robot.wish();
    let version = name_of(wish.as_ref()).to_owned();
    if let Some(from) = from.filter(|from| *from != version) {
        // Taken back by the same command already: so it is only waited for.
        return match before {
            Some(before) if before == wish || name_of(before.as_ref()) == from => Ok(Order { robot, to: wish }),
            _ => Err(Outcome::Left(format!("version {version} is desired of it, not {from}"))),
        };
    }
    match before {
        None => Err(Outcome::Failed("nothing was pushed to it that another took the place of".into())),
        Some(to) if to == wish => Err(Outcome::Failed(format!(
            "what was kept as the version before is {version}, which is desired already: a push or a rollback was cut off. \
             Push the file that it is to have"
        ))),
        Some(to) => Ok(Order { robot, to }),
    }
}

/// A configuration of before may be of a version of the bridge that took more, or less.
fn is_taken(order: Order, shadow: &str) -> Result<Order, Outcome> {
    if let Some(to) = &order.to {
        to.check(&format!("version {}", to.version), std::slice::from_ref(&order.robot.thing), shadow)
            .map_err(|stop| Outcome::Failed(stop.sentence()))?;
    }
    Ok(order)
}

/// Whether it is clear which version is to be taken back: after a push that was cut off, robots that it has not reached would
/// go back to the one before the one that works.
fn is_clear(pairs: &[(Robot, Before)], from: Option<&str>) -> Result<(), Stop> {
    let mut by_version: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for (robot, before) in pairs {
        if before.is_some() {
            by_version.entry(name_of(robot.wish().as_ref()).to_owned()).or_default().push(&robot.thing);
        }
    }
    let listed = || {
        let versions = by_version
            .iter()
            .map(|(version, things)| format!("{version} of {}", targets::list(things.iter().copied())));
        versions.collect::<Vec<_>>().join("; ")
    };
    match from {
        None if by_version.len() > 1 => Err(Stop::Failed(format!(
            "different versions are desired: {}. Nothing was sent. --from VERSION takes back only the things of which that version \
             is desired",
            listed()
        ))),
        // A mistake in the version would look as if all was well.
        Some(from) if !by_version.is_empty() && !pairs.iter().any(|(robot, before)| concerns(robot, before, from)) => {
            Err(Stop::Failed(format!("version {from} is desired of none of the things, but {}", listed())))
        }
        _ => Ok(()),
    }
}

/// Whether `from` is desired of the robot, or was until it was taken back.
fn concerns(robot: &Robot, before: &Before, from: &str) -> bool {
    let wish = robot.wish();
    name_of(wish.as_ref()) == from
        || before.as_ref().is_some_and(|before| *before == wish || name_of(before.as_ref()) == from)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn configuration(version: &str) -> Configuration {
        let sections = json!({ "topics": [{ "ros": format!("/v{version}") }] });
        Configuration { version: version.to_owned(), sections: sections.as_object().cloned().unwrap_or_default() }
    }

    fn robot(thing: &str, version: &str) -> Robot {
        let desired: Value = json!({ "version": version, "config": configuration(version).sections });
        Robot::read(thing, Some(&json!({ "state": { "desired": desired } })))
    }

    fn before(version: &str) -> Before {
        Some(Some(configuration(version)))
    }

    /// With a version that is taken back, whatever is repeated brings that version never back.
    #[test]
    fn only_the_version_that_is_named_is_taken_back() {
        let to = |robot, before, from| order(robot, before, from).map(|order| order.to);
        assert_eq!(to(robot("a", "2"), before("1"), None), Ok(Some(configuration("1"))));
        assert_eq!(to(robot("a", "2"), before("1"), Some("2")), Ok(Some(configuration("1"))));
        assert_eq!(to(robot("a", "2"), Some(None), Some("2")), Ok(None));
        // Again, also when the version that was taken back could not be kept.
        for kept in ["2", "1"] {
            assert_eq!(to(robot("a", "1"), before(kept), Some("2")), Ok(Some(configuration("1"))), "{kept}");
        }
        assert!(matches!(to(robot("a", "1"), before("0"), Some("2")), Err(Outcome::Left(_))));
        assert!(matches!(to(robot("a", "1"), before("1"), None), Err(Outcome::Failed(_))));
        assert!(matches!(to(robot("a", "1"), None, None), Err(Outcome::Failed(_))));
    }

    /// Without a version to take back all have to have the same; with one, some have to have it.
    #[test]
    fn it_has_to_be_clear_what_is_taken_back() {
        let cut_off = [(robot("a", "2"), before("1")), (robot("b", "1"), before("0")), (robot("c", "1"), None)];
        let why = is_clear(&cut_off, None).expect_err("two versions").sentence();
        assert!(why.contains("1 of b; 2 of a"), "{why}");
        assert!(is_clear(&cut_off, Some("2")).is_ok());
        assert!(is_clear(&cut_off[..1], None).is_ok());
        assert!(is_clear(&[(robot("a", "1"), before("2"))], Some("2")).is_ok());
        let why = is_clear(&cut_off, Some("7")).expect_err("no such version").sentence();
        assert!(why.contains("version 7 is desired of none"), "{why}");
    }
}

//! Which things are meant, and what their shadows hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use indicatif::ProgressBar;

use super::robot::Robot;
use crate::aws::Aws;
use crate::cli::TargetArgs;
use crate::each::{Failed, each, each_apart};
use crate::stop::Stop;

/// So many names stand in a sentence.
const NAMED: usize = 10;

/// The names that are given, and those of the things in the groups, each once.
///
/// # Errors
/// If there is no such group, or nothing is in it.
pub async fn find(aws: &Aws, arguments: &TargetArgs) -> Result<Vec<String>, Stop> {
    let mut names: BTreeSet<String> = arguments.thing.iter().cloned().collect();
    for group in &arguments.group {
        let Some(things) = aws.things_in(group).await? else {
            return Err(Stop::Failed(format!(
                "there is no thing group {group} in the region {}; aws iot list-thing-groups shows those that there are",
                aws.place.region
            )));
        };
        if things.is_empty() {
            return Err(Stop::Failed(format!("the thing group {group} has no things in it")));
        }
        names.extend(things);
    }
    Ok(names.into_iter().collect())
}

/// What the shadows of `things` hold, in the order of the names.
///
/// # Errors
/// If one of the things does not exist, or AWS does not tell of one.
pub async fn look(aws: &Arc<Aws>, things: &[String], shadow: &str) -> Result<Vec<Robot>, Stop> {
    let (robots, failed) = look_apart(aws, things, shadow).await?;
    match failed.into_iter().next() {
        Some((_, failure)) => Err(failure.into()),
        None => Ok(robots),
    }
}

/// As [`look`], with the failures of the things that AWS does not tell of.
///
/// # Errors
/// If one of the things does not exist, or AWS tells of none.
pub async fn look_apart(aws: &Arc<Aws>, things: &[String], shadow: &str) -> Result<(Vec<Robot>, Failed), Stop> {
    let bar = super::wait::bar("Looking at", things.len());
    let asked = each_apart(things, &bar, |thing| {
        let (aws, shadow) = (Arc::clone(aws), shadow.to_owned());
        async move { Robot::ask(&aws, &thing, &shadow).await }
    })
    .await;
    bar.finish_and_clear();
    let (mut robots, failed) = asked.some()?;
    robots.sort_by(|one, other| one.thing.cmp(&other.thing));
    // AWS IoT Core keeps a shadow for any name; so a mistake in one would never show.
    let bare: Vec<String> =
        robots.iter().filter(|robot| robot.desired.is_none()).map(|robot| robot.thing.clone()).collect();
    exist(aws, &bare).await?;
    Ok((robots, failed))
}

/// Whether all of `things` do.
///
/// # Errors
/// If one does not.
pub async fn exist(aws: &Arc<Aws>, things: &[String]) -> Result<(), Stop> {
    let found = each(things, &ProgressBar::hidden(), |thing| {
        let aws = Arc::clone(aws);
        async move { Ok((aws.thing_exists(&thing).await?, thing)) }
    })
    .await;
    let missing: BTreeSet<String> =
        found.all()?.into_iter().filter(|(exists, _)| !exists).map(|(_, thing)| thing).collect();
    match missing.len() {
        0 => Ok(()),
        1 => Err(Stop::Failed(format!("there is no thing {} in the region {}", list(&missing), aws.place.region))),
        _ => Err(Stop::Failed(format!("there are no things {} in the region {}", list(&missing), aws.place.region))),
    }
}

/// `a, b, c`, and of many how many more there are.
pub fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    match names.len() {
        0..=NAMED => names.join(", "),
        more => format!("{} and {} more", names[..NAMED].join(", "), more - NAMED),
    }
}

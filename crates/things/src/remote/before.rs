//! What was desired before, so that it can come back: in a shadow beside the one that robots look at, where every operator
//! finds it, and no robot.
//!
//! It is `{"reported":{"before":[{"version":"7","config":{"topics":[…]}}]}}`, or `["local"]` where nothing was desired. In a
//! list, because a shadow replaces lists and merges objects; in `reported`, because nobody shall be told of a difference.

use serde_json::json;

use super::configuration::Configuration;
use crate::aws::Aws;
use crate::stop::Stop;

/// What follows the name of the shadow that robots look at.
const SUFFIX: &str = "-before";

/// Longest name of a shadow that there is another one beside: AWS IoT Core takes 64 bytes.
pub const LONGEST_NAME: usize = 64 - SUFFIX.len();

/// Stands where nothing was desired, so that the robot's own configuration was in force.
const LOCAL: &str = "local";

/// Keeps what is desired of `thing` now.
pub async fn keep(aws: &Aws, thing: &str, shadow: &str, wish: Option<&Configuration>) -> Result<(), Stop> {
    let before = match wish {
        Some(wish) => json!({ "version": wish.version, "config": wish.sections }),
        None => LOCAL.into(),
    };
    let document = json!({ "state": { "reported": { "before": [before] } } });
    Ok(aws.update_shadow(thing, &format!("{shadow}{SUFFIX}"), &document).await?)
}

/// What was desired of `thing` before; `None` if that is not known, and `Some(None)` if nothing was.
pub async fn find(aws: &Aws, thing: &str, shadow: &str) -> Result<Option<Option<Configuration>>, Stop> {
    let document = aws.shadow(thing, &format!("{shadow}{SUFFIX}")).await?;
    let before = document.as_ref().map(|document| &document["state"]["reported"]["before"][0]);
    Ok(before.and_then(|before| match (before.as_str(), before["version"].as_str(), before["config"].as_object()) {
        (Some(LOCAL), _, _) => Some(None),
        (_, Some(version), Some(sections)) => {
            Some(Some(Configuration { version: version.to_owned(), sections: sections.clone() }))
        }
        _ => None,
    }))
}

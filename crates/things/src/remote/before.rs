//! What was desired before, so that it can come back: in a shadow beside the one that robots look at, where every operator
//! finds it, and no robot.
//!
//! It is `{"reported":{"before":["7","topics",[…],"commands",[…]]}}`, the version and each section with its name; and `["local"]`
//! where nothing was desired. A list, because a shadow replaces lists and merges objects, and because that is nested no deeper
//! than what is desired, of which AWS IoT Core takes a few levels only. In `reported`, because nobody shall be told of a
//! difference.

use serde_json::{Map, Value, json};

use super::configuration::{Configuration, name_of};
use crate::aws::Aws;
use crate::failure::Failure;

/// What follows the name of the shadow that robots look at.
const SUFFIX: &str = "-before";

/// Longest name of a shadow that there is another one beside: AWS IoT Core takes 64 bytes.
pub const LONGEST_NAME: usize = 64 - SUFFIX.len();

/// Keeps what is desired of `thing` now.
pub async fn keep(aws: &Aws, thing: &str, shadow: &str, wish: Option<&Configuration>) -> Result<(), Failure> {
    let mut before = vec![json!(name_of(wish))];
    for (name, section) in wish.iter().flat_map(|wish| &wish.sections) {
        before.extend([json!(name), section.clone()]);
    }
    let document = json!({ "state": { "reported": { "before": before } } });
    aws.update_shadow(thing, &format!("{shadow}{SUFFIX}"), &document).await
}

/// What was desired of `thing` before; `None` if that is not known, and `Some(None)` if nothing was.
pub async fn find(aws: &Aws, thing: &str, shadow: &str) -> Result<Option<Option<Configuration>>, Failure> {
    let document = aws.shadow(thing, &format!("{shadow}{SUFFIX}")).await?;
    let list = document.as_ref().and_then(|document| document["state"]["reported"]["before"].as_array());
    let Some([Value::String(version), named @ ..]) = list.map(Vec::as_slice) else { return Ok(None) };
    let mut sections = Map::new();
    for pair in named.chunks(2) {
        let [Value::String(name), section] = pair else { return Ok(None) };
        sections.insert(name.clone(), section.clone());
    }
    Ok(Some((!sections.is_empty()).then(|| Configuration { version: version.clone(), sections })))
}

//! Policies with least privilege: what a configuration needs, and nothing else.
//!
//! ```text
//!  Settings ──► grants (action, resource) ──► documents of at most 2048 characters
//!                        └──► check: an existing document held against them
//! ```
//!
//! Source of the actions, resources and limits: "AWS IoT Core policies", "Thing policy variables" and "AWS IoT Core
//! identity and security limits and quotas" of the AWS IoT Core developer guide.

mod check;
mod document;
mod grant;

pub use check::{Findings, Unreadable, check};
pub use document::{Document, Statement, TooMany, documents};
pub use grant::{Action, Grant, TEST_TOPIC, Wild, grants};

use iot_bridge_core::config::Settings;

/// Stands in resources for the name of the thing that is connected. AWS IoT Core knows it where the client id is the
/// name of a thing that the certificate is attached to.
pub const THING_NAME: &str = "${iot:Connection.Thing.ThingName}";

/// Stands for the thing's name while a configuration is read for things of any name. As long as an ordinary name, so
/// that topics keep their length, and of characters that a name may have.
pub const ANY_THING: &str = "Any-Thing:Any";

/// The part of an ARN that says where resources are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub region: String,
    pub account: String,
}

impl Place {
    /// Words in the place of what is not known, for somebody to replace.
    pub fn unknown() -> Place {
        Place { region: "REGION".into(), account: "ACCOUNT".into() }
    }

    /// What precedes `topic/…` and the like.
    pub fn prefix(&self) -> String {
        format!("arn:{}:iot:{}:{}:", partition(&self.region), self.region, self.account)
    }
}

/// The partition that a region belongs to ("Amazon Resource Names", AWS General Reference).
pub fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// The region that an endpoint of AWS IoT Core names: `a1b2-ats.iot.eu-west-1.amazonaws.com`.
pub fn region_of_endpoint(endpoint: &str) -> Option<&str> {
    let (_, after) = endpoint.split_once(".iot.")?;
    after.split_once(".amazonaws.com").map(|(region, _)| region)
}

/// Whether one policy does for things of any name: the client id is the thing's name.
pub fn fits_any_thing(settings: &Settings) -> bool {
    settings.aws.client_id == settings.aws.thing
}

#[cfg(test)]
mod tests;

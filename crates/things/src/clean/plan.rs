//! What `clean` is going to delete.

use std::fmt::Write;

use crate::cli::CleanArgs;
use crate::plural;
use crate::policy::Place;
use crate::register::{Ledger, Origin, Register};
use crate::stop::Stop;

/// Names of things, in the order of their deletion.
pub(super) struct Plan {
    pub names: Vec<String>,
    register: Register,
    only_local: bool,
}

impl Plan {
    /// # Errors
    /// If a thing is named that is not recorded, and nobody insists.
    pub fn new(register: &Register, arguments: &CleanArgs) -> Result<Plan, Stop> {
        let unknown = arguments.names.iter().find(|name| register.thing(name).is_none());
        if let Some(name) = unknown.filter(|_| !arguments.force) {
            return Err(Stop::Failed(format!(
                "{name} is not in things.json of {}; iot-bridge-things has not made it there. --force deletes it all the same",
                arguments.directory.output.display()
            )));
        }
        let names = match &arguments.names[..] {
            [] => register.things.iter().map(|thing| thing.name.clone()).collect(),
            names => names.to_vec(),
        };
        Ok(Plan { names, register: register.clone(), only_local: arguments.only_local })
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.register.policies.is_empty()
    }

    /// What is going to be deleted, a line each.
    pub fn describe(&self, ledger: &Ledger, place: Option<&Place>) -> String {
        let mut text = match place {
            Some(place) => format!("To be deleted in the AWS account {}, region {}:\n", place.account, place.region),
            None => "To be deleted on this machine only; everything in AWS stays:\n".to_owned(),
        };
        for name in &self.names {
            let thing = ledger.thing(name);
            // Writing to a text does not fail.
            let _ = match self.only_local {
                true => writeln!(text, "    files of {name}"),
                false => writeln!(
                    text,
                    "    {name}: {}{}, files",
                    plural(thing.certificates.len(), "certificate"),
                    if thing.origin == Some(Origin::Found) { "" } else { ", thing" },
                ),
            };
        }
        if let Some(policies) = self.policies().filter(|_| !self.only_local) {
            let _ = writeln!(text, "    policies, if nothing else has them: {policies}");
        }
        text
    }

    /// The policies that no thing has afterwards.
    fn policies(&self) -> Option<String> {
        let stay = |policy: &String| {
            self.register
                .things
                .iter()
                .any(|thing| !self.names.contains(&thing.name) && thing.policies.contains(policy))
        };
        let go: Vec<&str> = self
            .register
            .policies
            .iter()
            .filter(|policy| policy.origin == Origin::Made && !stay(&policy.name))
            .map(|policy| policy.name.as_str())
            .collect();
        (!go.is_empty()).then(|| go.join(", "))
    }
}

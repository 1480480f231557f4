//! The policies of a configuration. Their names tell their content, so that the same configuration has the same ones.

use sha2::{Digest, Sha256};

use crate::aws::{Aws, Created};
use crate::policy::{Document, documents};
use crate::register::{Ledger, Origin, Policy};
use crate::stop::Stop;
use crate::template::Template;

/// Names of policies that are there.
#[derive(Debug)]
pub(crate) struct Policies(Vec<String>);

impl Policies {
    /// Makes the policies that `template` needs, for things of any name if it can be and else for `thing`, unless they
    /// are there.
    pub async fn ensure(template: &Template, thing: &str, aws: &Aws, ledger: &Ledger) -> Result<Policies, Stop> {
        let mut names = Vec::new();
        for document in documents(&template.grants(thing)?, &aws.place)? {
            let name = name(&document);
            if ledger.read().policy(&name).is_none() {
                let origin = if aws.policy(&name).await?.is_some() { Origin::Found } else { Origin::Made };
                ledger.change(|register| register.policies.push(Policy { name: name.clone(), origin }))?;
            }
            if aws.create_policy(&name, &document.text()).await? == Created::Before {
                compare(aws, &name, &document).await?;
            }
            names.push(name);
        }
        Ok(Policies(names))
    }

    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Deletes what was made for a configuration of before and no thing has any more.
    pub async fn retire(&self, aws: &Aws, ledger: &Ledger) -> Result<(), Stop> {
        let register = ledger.read();
        let used =
            |name: &String| self.0.contains(name) || register.things.iter().any(|thing| thing.policies.contains(name));
        for policy in register.policies.iter().filter(|policy| !used(&policy.name)) {
            delete_unused(aws, ledger, policy).await?;
        }
        Ok(())
    }
}

/// Deletes a policy that no recorded thing has, if it was made here and nothing else has it. Afterwards it is not
/// recorded any more. Returns whether it was deleted.
pub(crate) async fn delete_unused(aws: &Aws, ledger: &Ledger, policy: &Policy) -> Result<bool, Stop> {
    let name = &policy.name;
    let ours = policy.origin == Origin::Made;
    let free = ours && aws.targets_of(name).await?.is_empty();
    if free {
        aws.delete_policy(name).await?;
    } else if ours {
        eprintln!("The policy {name} stays: certificates have it that {} does not know.", ledger.directory().display());
    }
    ledger.change(|register| register.policies.retain(|other| other.name != *name))?;
    Ok(free)
}

/// A policy of the same name has to be the same.
async fn compare(aws: &Aws, name: &str, document: &Document) -> Result<(), Stop> {
    let there = aws.policy(name).await?.unwrap_or_default();
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    match parsed(&there) == Some(document.json()) {
        true => Ok(()),
        false => Err(Stop::Failed(format!(
            "there is a policy {name} that says something else than this configuration needs; delete it, or change the \
             configuration"
        ))),
    }
}

/// A hash that nobody finds a second document for.
fn name(document: &Document) -> String {
    let digest = Sha256::digest(document.text());
    let prefix = u64::from_be_bytes(digest.first_chunk().copied().unwrap_or_default());
    format!("iot-bridge-{prefix:016x}")
}

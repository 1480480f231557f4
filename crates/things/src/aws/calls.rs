//! The calls about things, policies, groups and rules. Each is named by the IAM permission that it needs.

use std::time::Duration;

use aws_sdk_iot::types::{AttributePayload, Tag, TopicRulePayload};

use super::Aws;
use crate::failure::{Failure, Kind};

/// Waits its turn, sends the request and puts its error in words.
macro_rules! call {
    ($aws:expr, $action:literal, $what:expr, $request:expr) => {{
        $aws.pace.turn($action).await;
        $request.send().await.map_err(|error| $crate::failure::Failure::of($action, $what, &error))
    }};
}
/// As `call`, for a list in pages: all its `$items`. Each page has its turn; the last one has no `$token`.
macro_rules! list {
    ($aws:expr, $action:literal, $what:expr, $request:expr, $items:ident, $token:ident) => {{
        let mut pages = $request.into_paginator().send();
        let mut all = Vec::new();
        loop {
            $aws.pace.turn($action).await;
            match pages.next().await {
                None => break Ok(all),
                Some(Ok(page)) => {
                    let is_last = page.$token().is_none_or(str::is_empty);
                    all.extend(page.$items.unwrap_or_default());
                    if is_last {
                        break Ok(all);
                    }
                }
                Some(Err(error)) => break Err($crate::failure::Failure::of($action, $what, &error)),
            }
        }
    }};
}
pub(super) use {call, list};

/// Whether something is there now because of this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    Now,
    Before,
}

/// Says of a policy who has made it.
const TAG: (&str, &str) = ("made-by", "iot-bridge-things");

/// How often something that is still in use is tried to be deleted: what was detached a moment ago is noticed by and by.
const DELETE_ATTEMPTS: u32 = 8;

/// What was not there any more is deleted all the same.
fn gone<T>(result: Result<T, Failure>) -> Result<(), Failure> {
    match result {
        Err(failure) if failure.kind != Kind::NotFound => Err(failure),
        _ => Ok(()),
    }
}

/// Returns nothing instead of a failure where something is not there.
pub(super) fn if_there<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.kind == Kind::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Tries `delete` until nothing is in its way any more.
pub(super) async fn once_free<F: Future<Output = Result<(), Failure>>>(
    mut delete: impl FnMut() -> F,
) -> Result<(), Failure> {
    let mut attempt = 1;
    loop {
        match delete().await {
            Err(failure) if in_the_way(&failure) && attempt < DELETE_ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(attempt.min(5))).await;
                attempt += 1;
            }
            other => return gone(other),
        }
    }
}

/// DeleteThing answers with InvalidRequestException where the others have a conflict.
fn in_the_way(failure: &Failure) -> bool {
    failure.kind == Kind::InUse || failure.sentence.contains("InvalidRequestException")
}

impl Aws {
    /// The endpoint that things connect to, with certificates of Amazon's own authority.
    pub async fn data_endpoint(&self) -> Result<String, Failure> {
        let request = self.client.describe_endpoint().endpoint_type("iot:Data-ATS");
        let answer = call!(self, "iot:DescribeEndpoint", "iot:Data-ATS", request)?;
        answer.endpoint_address.ok_or_else(|| Failure::other("AWS names no data endpoint"))
    }

    pub async fn thing_exists(&self, name: &str) -> Result<bool, Failure> {
        let answer = if_there(call!(self, "iot:DescribeThing", name, self.client.describe_thing().thing_name(name)))?;
        Ok(answer.is_some())
    }

    pub async fn create_thing(
        &self,
        name: &str,
        thing_type: Option<&str>,
        attributes: &[(String, String)],
    ) -> Result<(), Failure> {
        let mut request =
            self.client.create_thing().thing_name(name).set_thing_type_name(thing_type.map(str::to_owned));
        if !attributes.is_empty() {
            let all = attributes.iter().cloned().collect();
            request = request.attribute_payload(AttributePayload::builder().set_attributes(Some(all)).build());
        }
        match call!(self, "iot:CreateThing", name, request) {
            Err(failure) if failure.kind == Kind::NotFound => Err(Failure::other(format!(
                "there is no thing type {}; make it first: aws iot create-thing-type --thing-type-name {0}",
                thing_type.unwrap_or_default()
            ))),
            Err(failure) if failure.kind == Kind::Exists => Err(Failure::other(format!(
                "the thing {name} exists with another type or other attributes; give those, or choose another name"
            ))),
            other => other.map(drop),
        }
    }

    pub async fn delete_thing(&self, name: &str) -> Result<(), Failure> {
        once_free(async || call!(self, "iot:DeleteThing", name, self.client.delete_thing().thing_name(name)).map(drop))
            .await
    }

    /// The ARNs of the certificates that are attached to the thing; none if there is no such thing.
    pub async fn principals_of(&self, thing: &str) -> Result<Vec<String>, Failure> {
        let request = self.client.list_thing_principals().thing_name(thing);
        Ok(if_there(list!(self, "iot:ListThingPrincipals", thing, request, principals, next_token))?
            .unwrap_or_default())
    }

    /// The names of the things that a certificate is attached to.
    pub async fn things_of(&self, certificate_arn: &str) -> Result<Vec<String>, Failure> {
        let request = self.client.list_principal_things().principal(certificate_arn);
        Ok(if_there(list!(self, "iot:ListPrincipalThings", certificate_arn, request, things, next_token))?
            .unwrap_or_default())
    }

    pub async fn attach_thing(&self, thing: &str, certificate_arn: &str) -> Result<(), Failure> {
        let request = self.client.attach_thing_principal().thing_name(thing).principal(certificate_arn);
        call!(self, "iot:AttachThingPrincipal", thing, request).map(drop)
    }

    pub async fn detach_thing(&self, thing: &str, certificate_arn: &str) -> Result<(), Failure> {
        let request = self.client.detach_thing_principal().thing_name(thing).principal(certificate_arn);
        gone(call!(self, "iot:DetachThingPrincipal", thing, request))
    }

    pub async fn join_group(&self, thing: &str, group: &str) -> Result<(), Failure> {
        let request = self.client.add_thing_to_thing_group().thing_name(thing).thing_group_name(group);
        match call!(self, "iot:AddThingToThingGroup", group, request) {
            Err(failure) if failure.kind == Kind::NotFound => Err(Failure::other(format!(
                "there is no thing group {group}; make it first: aws iot create-thing-group --thing-group-name {group}"
            ))),
            other => other.map(drop),
        }
    }

    pub async fn leave_group(&self, thing: &str, group: &str) -> Result<(), Failure> {
        let request = self.client.remove_thing_from_thing_group().thing_name(thing).thing_group_name(group);
        gone(call!(self, "iot:RemoveThingFromThingGroup", group, request))
    }

    /// The document of a policy, if there is such a policy.
    pub async fn policy(&self, name: &str) -> Result<Option<String>, Failure> {
        let answer = if_there(call!(self, "iot:GetPolicy", name, self.client.get_policy().policy_name(name)))?;
        Ok(answer.map(|answer| answer.policy_document.unwrap_or_default()))
    }

    /// Makes a policy, unless there is one of that name.
    pub async fn create_policy(&self, name: &str, document: &str) -> Result<Created, Failure> {
        let tag = Tag::builder().key(TAG.0).value(TAG.1).build();
        let tag = tag.map_err(|error| Failure::other(error.to_string()))?;
        let request = self.client.create_policy().policy_name(name).policy_document(document).tags(tag);
        match call!(self, "iot:CreatePolicy", name, request) {
            Ok(_) => Ok(Created::Now),
            Err(failure) if failure.kind == Kind::Exists => Ok(Created::Before),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes a policy with all its versions.
    pub async fn delete_policy(&self, name: &str) -> Result<(), Failure> {
        let versions =
            call!(self, "iot:ListPolicyVersions", name, self.client.list_policy_versions().policy_name(name));
        let Some(versions) = if_there(versions)? else { return Ok(()) };
        for version in versions.policy_versions().iter().filter(|version| !version.is_default_version()) {
            let version = version.version_id().unwrap_or_default();
            let request = self.client.delete_policy_version().policy_name(name).policy_version_id(version);
            gone(call!(self, "iot:DeletePolicyVersion", name, request))?;
        }
        once_free(async || {
            call!(self, "iot:DeletePolicy", name, self.client.delete_policy().policy_name(name)).map(drop)
        })
        .await
    }

    /// What a policy is attached to; nothing if there is no such policy.
    pub async fn targets_of(&self, policy: &str) -> Result<Vec<String>, Failure> {
        let request = self.client.list_targets_for_policy().policy_name(policy);
        let targets = call!(self, "iot:ListTargetsForPolicy", policy, request);
        Ok(if_there(targets)?.and_then(|answer| answer.targets).unwrap_or_default())
    }

    /// The names of the policies that are attached to a certificate.
    pub async fn policies_of(&self, certificate_arn: &str) -> Result<Vec<String>, Failure> {
        let request = self.client.list_attached_policies().target(certificate_arn);
        let policies =
            if_there(list!(self, "iot:ListAttachedPolicies", certificate_arn, request, policies, next_marker))?;
        Ok(policies.unwrap_or_default().into_iter().filter_map(|policy| policy.policy_name).collect())
    }

    pub async fn attach_policy(&self, policy: &str, certificate_arn: &str) -> Result<(), Failure> {
        let request = self.client.attach_policy().policy_name(policy).target(certificate_arn);
        call!(self, "iot:AttachPolicy", policy, request).map(drop)
    }

    pub async fn detach_policy(&self, policy: &str, certificate_arn: &str) -> Result<(), Failure> {
        let request = self.client.detach_policy().policy_name(policy).target(certificate_arn);
        gone(call!(self, "iot:DetachPolicy", policy, request))
    }

    pub async fn create_rule(&self, name: &str, rule: TopicRulePayload) -> Result<(), Failure> {
        let request = self.client.create_topic_rule().rule_name(name).topic_rule_payload(rule);
        match call!(self, "iot:CreateTopicRule", name, request) {
            Err(failure) if failure.kind == Kind::Exists => Err(Failure::other(format!(
                "there is a rule {name} already; `iot-bridge-things rule replace {name} …` changes it"
            ))),
            other => other.map(drop),
        }
    }

    pub async fn replace_rule(&self, name: &str, rule: TopicRulePayload) -> Result<(), Failure> {
        let request = self.client.replace_topic_rule().rule_name(name).topic_rule_payload(rule);
        call!(self, "iot:ReplaceTopicRule", name, request).map(drop)
    }

    /// Whether there is a rule of this name.
    pub async fn rule_exists(&self, name: &str) -> Result<bool, Failure> {
        match call!(self, "iot:GetTopicRule", name, self.client.get_topic_rule().rule_name(name)) {
            Ok(_) => Ok(true),
            Err(failure) if failure.kind == Kind::NotFound => Ok(false),
            // AWS IoT Core says so of a rule that does not exist.
            Err(failure) if failure.sentence.contains("UnauthorizedException") => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    pub async fn delete_rule(&self, name: &str) -> Result<(), Failure> {
        gone(call!(self, "iot:DeleteTopicRule", name, self.client.delete_topic_rule().rule_name(name)))
    }
}

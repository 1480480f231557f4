//! An existing policy document, held against what a configuration needs.

use serde_json::{Value, json};

use super::grant::glob_covers;
use super::{Action, Grant, THING_NAME};

/// What an existing policy allows otherwise than needed. Each entry reads `iot:Publish topic/robots/robot1/odom`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Needed, and not allowed.
    pub too_little: Vec<String>,
    /// Allowed, and not needed.
    pub too_much: Vec<String>,
    /// What this check does not judge.
    pub not_judged: Vec<String>,
}

impl Findings {
    /// Whether the policy allows exactly what is needed.
    pub fn fits(&self) -> bool {
        self.too_little.is_empty() && self.too_much.is_empty()
    }
}

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is no policy: {0}")]
    Shape(String),
}

/// One statement that allows something.
struct Existing {
    actions: Vec<String>,
    /// What follows the account in the ARNs.
    resources: Vec<String>,
}

/// Variables that stand for the name of the thing where the client id is that name.
const SAME_AS_THING_NAME: [&str; 2] = [THING_NAME, "${iot:ClientId}"];

/// Holds the policy in `text` against `needed`. `thing` is the name that thing policy variables stand for, if the
/// client id is that name too.
///
/// # Errors
/// If `text` is no policy.
pub fn check(text: &str, needed: &[Grant], thing: Option<&str>) -> Result<Findings, Unreadable> {
    let name = |resource: &str| match thing {
        Some(thing) => {
            SAME_AS_THING_NAME.iter().fold(resource.to_owned(), |text, variable| text.replace(variable, thing))
        }
        None => resource.to_owned(),
    };
    let mut findings = Findings::default();
    let statements = statements(&serde_json::from_str(text)?, &mut findings.not_judged)?;
    let needed: Vec<(Action, String)> = needed.iter().map(|grant| (grant.action, name(&grant.resource))).collect();
    let mut allowed: Vec<(String, String)> = Vec::new();
    for statement in &statements {
        for action in &statement.actions {
            allowed.extend(statement.resources.iter().map(|resource| (action.clone(), name(resource))));
        }
    }
    for (action, resource) in &needed {
        let by = |(pattern, allowed): &(String, String)| {
            action_covers(pattern, action.name()) && glob_covers(allowed, resource)
        };
        if !allowed.iter().any(by) {
            findings.too_little.push(format!("{} {resource}", action.name()));
        }
    }
    for (pattern, resource) in &allowed {
        // What a pattern of actions allows: each that the bridge may need, if it is needed so, and all others.
        let judged: Vec<Action> =
            Action::ALL.into_iter().filter(|action| action_covers(pattern, action.name())).collect();
        let exact = matches!(judged[..], [action] if action.name().eq_ignore_ascii_case(pattern));
        let is_needed = |action: &Action| needed.iter().any(|(n, wanted)| n == action && glob_covers(wanted, resource));
        if exact && judged.iter().all(is_needed) {
            continue;
        }
        let entry = format!("{pattern} {resource}");
        if !findings.too_much.contains(&entry) {
            findings.too_much.push(entry);
        }
    }
    Ok(findings)
}

/// Action names know no case.
fn action_covers(pattern: &str, action: &str) -> bool {
    glob_covers(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase())
}

fn statements(document: &Value, not_judged: &mut Vec<String>) -> Result<Vec<Existing>, Unreadable> {
    let shape = |what: &str| Unreadable::Shape(what.to_owned());
    let list = match document.get("Statement").ok_or_else(|| shape("it has no Statement"))? {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    let mut statements = Vec::new();
    for (number, statement) in list.into_iter().enumerate() {
        let number = number + 1;
        let allows = match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return Err(Unreadable::Shape(format!("Effect of statement {number} is neither Allow nor Deny"))),
        };
        let texts = |key: &str| match statement.get(key) {
            Some(Value::String(one)) => Ok(vec![one.clone()]),
            Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
                Ok(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => Err(Unreadable::Shape(format!("{key} of statement {number} is neither a text nor a list of texts"))),
        };
        if !allows {
            not_judged.push(format!("statement {number} denies; what it takes away is not looked at"));
            continue;
        }
        if let Some(condition) = statement.get("Condition").filter(|condition| !is_ours(condition)) {
            not_judged.push(format!("statement {number} has a condition, which is not looked at: {condition}"));
        }
        let resources = texts("Resource")?.iter().map(|arn| after_account(arn)).collect();
        statements.push(Existing { actions: texts("Action")?, resources });
    }
    Ok(statements)
}

/// A condition that the bridge's own policies have: the thing is attached, or there is a last will.
fn is_ours(condition: &Value) -> bool {
    let ours = |(operator, keys): (&String, &Value)| {
        let is = |key: &str, value: &str| *keys == json!({ key: value }) || *keys == json!({ key: [value] });
        match operator.as_str() {
            "Bool" => is("iot:Connection.Thing.IsAttached", "true"),
            "ForAllValues:StringEquals" => is("iot:ConnectAttributes", "LastWill"),
            _ => false,
        }
    };
    condition.as_object().is_some_and(|operators| operators.iter().all(ours))
}

/// `topic/a` of `arn:aws:iot:eu-west-1:123456789012:topic/a`; a pattern that reaches into the account stays whole.
fn after_account(arn: &str) -> String {
    match arn.splitn(6, ':').collect::<Vec<_>>()[..] {
        ["arn", _, _, _, _, resource] => resource.to_owned(),
        _ => arn.to_owned(),
    }
}

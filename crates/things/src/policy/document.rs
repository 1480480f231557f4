//! From grants to documents within AWS's limits.

use serde_json::{Value, json};

use super::{Action, Grant, Place};

/// Longest document, in characters that are not white space.
const MAX_CHARACTERS: usize = 2048;
/// Most policies that may be attached to a certificate.
const MAX_POLICIES: usize = 10;

/// A policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub statements: Vec<Statement>,
}

/// One statement that allows something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub actions: Vec<Action>,
    /// Whole ARNs.
    pub resources: Vec<String>,
    /// Lets a client connect that has a last will.
    pub will: bool,
}

/// A configuration needs more than policies can say.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the configuration needs {0} policies of {MAX_CHARACTERS} characters, and AWS IoT Core takes {MAX_POLICIES} for a \
     certificate; give the MQTT topics a common shape by which fewer and shorter names do"
)]
pub struct TooMany(pub usize);

impl Document {
    fn of(statements: &[Statement]) -> Document {
        Document { statements: statements.to_vec() }
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({ "Version": "2012-10-17", "Statement": self.statements.iter().map(Statement::json).collect::<Vec<_>>() })
    }

    /// As AWS gets it: without white space.
    pub fn text(&self) -> String {
        self.json().to_string()
    }

    fn fits(&self) -> bool {
        self.text().chars().filter(|c| !c.is_whitespace()).count() <= MAX_CHARACTERS
    }
}

impl Statement {
    fn json(&self) -> Value {
        let one_or_more = |mut list: Vec<Value>| if list.len() == 1 { list.remove(0) } else { Value::Array(list) };
        let mut statement = json!({
            "Effect": "Allow",
            "Action": one_or_more(self.actions.iter().map(|action| action.name().into()).collect()),
            "Resource": one_or_more(self.resources.iter().map(|resource| resource.as_str().into()).collect()),
        });
        if self.actions == [Action::Connect] && self.resources.iter().any(|arn| arn.contains(super::THING_NAME)) {
            // A certificate that is attached to another thing, or to none, may not take this one's name.
            statement["Condition"]["Bool"] = json!({ "iot:Connection.Thing.IsAttached": "true" });
        }
        if self.will {
            // "Policy to connect and publish retained Will messages" of the AWS IoT Core developer guide asks for it.
            // "Connect policy examples" reads as if nothing were needed; this does for both, and lets no session persist.
            statement["Condition"]["ForAllValues:StringEquals"] = json!({ "iot:ConnectAttributes": ["LastWill"] });
        }
        statement
    }
}

/// The fewest documents, in the order of the actions, that allow `grants` in `place`.
///
/// # Errors
/// If they are more than a certificate may have.
pub fn documents(grants: &[Grant], place: &Place) -> Result<Vec<Document>, TooMany> {
    let mut documents: Vec<Document> = Vec::new();
    let mut open: Vec<Statement> = Vec::new();
    for (actions, will, resource) in by_resource(grants) {
        let resource = format!("{}{resource}", place.prefix());
        let mut longer = open.clone();
        match longer.last_mut().filter(|last| last.actions == actions && last.will == will) {
            Some(last) => last.resources.push(resource.clone()),
            None => longer.push(Statement { actions: actions.clone(), resources: vec![resource.clone()], will }),
        }
        if Document::of(&longer).fits() || open.is_empty() {
            open = longer;
        } else {
            documents.push(Document::of(&open));
            open = vec![Statement { actions, resources: vec![resource], will }];
        }
    }
    if !open.is_empty() {
        documents.push(Document::of(&open));
    }
    match documents.len() {
        0..=MAX_POLICIES => Ok(documents),
        many => Err(TooMany(many)),
    }
}

/// The resources, those with the same actions together.
fn by_resource(grants: &[Grant]) -> Vec<(Vec<Action>, bool, String)> {
    let mut all: Vec<(Vec<Action>, bool, String)> = Vec::new();
    for grant in grants {
        match all.iter_mut().find(|(_, _, resource)| *resource == grant.resource) {
            Some((actions, ..)) => actions.push(grant.action),
            None => all.push((vec![grant.action], grant.will, grant.resource.clone())),
        }
    }
    all.sort();
    all
}

//! Policies, evaluated as the developer guide of AWS IoT Core says.
//!
//! | of the documentation | here |
//! | --- | --- |
//! | what nothing allows is denied, and what something denies is denied whatever allows it | [`Account::allows`] |
//! | `*` is any combination of characters, `?` any single one; `+` and `#` are themselves | [`Token`] |
//! | variables are replaced by values before anything is compared | [`Account::tokens`] |
//! | the thing is the one that is called as the client id; whether it is attached to the certificate is asked for by a condition | [`Account::thing`], [`Account::meets`] |
//! | a client with a last will needs a condition that says so (the stricter of two pages), and has to be allowed to publish it | [`Account::allows_connect`] |
//! | a retained publish has an action of its own beside `iot:Publish` | [`Account::allows_publish`] |

use serde_json::Value;

use super::AwsBroker;
use super::wire::Connect;

/// What the certificate of every client has, in the account that the broker is of.
#[derive(Debug, Clone)]
pub struct Account {
    /// What precedes `topic/…` in ARNs.
    pub prefix: String,
    /// The documents of the policies that are attached.
    pub documents: Vec<Value>,
    /// The names of all things.
    pub things: Vec<String>,
    /// The thing that the certificate is attached to.
    pub attached: String,
}

/// What a pattern consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Any,
    One,
    Only(char),
}

/// Something that a client asks for.
struct Request<'a> {
    client_id: &'a str,
    action: &'a str,
    resource: String,
    /// Of a connection: what is not ordinary about it.
    attributes: &'a [&'a str],
}

impl AwsBroker {
    /// From now on the policies of `account` are in force.
    pub fn enforce(&self, account: Account) {
        self.shared.with(|state| state.account = Some(account));
    }
}

impl Account {
    /// Whether the client `client_id` may do `action` with `resource` (`topic/a`).
    pub fn allows(&self, client_id: &str, action: &str, resource: &str) -> bool {
        self.decide(&Request { client_id, action, resource: format!("{}{resource}", self.prefix), attributes: &[] })
    }

    /// Returns what is not allowed of a connection.
    pub(super) fn allows_connect(&self, connect: &Connect) -> Result<(), String> {
        let Connect { client_id, will, .. } = connect;
        let attributes = if will.is_some() { &["LastWill"][..] } else { &[] };
        let client = format!("client/{client_id}");
        let resource = format!("{}{client}", self.prefix);
        if !self.decide(&Request { client_id, action: "iot:Connect", resource, attributes }) {
            return Err(format!("iot:Connect {client}{}", if will.is_some() { " with a will" } else { "" }));
        }
        will.as_ref().map_or(Ok(()), |will| self.allows_publish(client_id, &will.topic, will.retain))
    }

    /// Returns what is not allowed of a publish.
    pub(super) fn allows_publish(&self, client_id: &str, topic: &str, retain: bool) -> Result<(), String> {
        let resource = format!("topic/{topic}");
        let needed = ["iot:Publish", "iot:RetainPublish"].into_iter().take(if retain { 2 } else { 1 });
        let mut denied = needed.filter(|action| !self.allows(client_id, action, &resource));
        denied.next().map_or(Ok(()), |action| Err(format!("{action} {resource}")))
    }

    fn decide(&self, request: &Request<'_>) -> bool {
        let mut allowed = false;
        for document in &self.documents {
            for statement in list(&document["Statement"]) {
                if self.applies(statement, request) {
                    match statement["Effect"].as_str() {
                        Some("Allow") => allowed = true,
                        Some("Deny") => return false,
                        other => panic!("no effect: {other:?}"),
                    }
                }
            }
        }
        allowed
    }

    fn applies(&self, statement: &Value, request: &Request<'_>) -> bool {
        let texts = |key: &str| list(&statement[key]).into_iter().map(|text| text.as_str().expect("a text"));
        let action = |pattern: &str| {
            let tokens = self.tokens(&pattern.to_lowercase(), request.client_id);
            tokens.is_some_and(|tokens| matches(&tokens, &characters(&request.action.to_lowercase())))
        };
        let resource = |pattern: &str| {
            let tokens = self.tokens(pattern, request.client_id);
            tokens.is_some_and(|tokens| matches(&tokens, &characters(&request.resource)))
        };
        texts("Action").any(action) && texts("Resource").any(resource) && self.meets(&statement["Condition"], request)
    }

    /// Whether the conditions of a statement are met.
    fn meets(&self, condition: &Value, request: &Request<'_>) -> bool {
        let attached = self.thing(request.client_id) == Some(&self.attached);
        let mut judges_attributes = request.attributes.is_empty();
        for (operator, keys) in condition.as_object().into_iter().flatten() {
            for (key, values) in keys.as_object().expect("keys") {
                let values: Vec<&str> = list(values).into_iter().map(|value| value.as_str().expect("a text")).collect();
                let met = match (operator.as_str(), key.as_str()) {
                    ("Bool", "iot:Connection.Thing.IsAttached") => values == [attached.to_string()],
                    ("ForAllValues:StringEquals", "iot:ConnectAttributes") => {
                        judges_attributes = true;
                        request.attributes.iter().all(|attribute| values.contains(attribute))
                    }
                    other => panic!("a condition that is not known here: {other:?}"),
                };
                if !met {
                    return false;
                }
            }
        }
        judges_attributes
    }

    /// The thing that a client is.
    fn thing(&self, client_id: &str) -> Option<&String> {
        self.things.iter().find(|thing| *thing == client_id)
    }

    /// The pattern with values in the place of variables. Nothing, if one of them has no value: then it is of nobody.
    fn tokens(&self, pattern: &str, client_id: &str) -> Option<Vec<Token>> {
        let (mut tokens, mut rest) = (Vec::new(), pattern);
        while let Some(next) = rest.chars().next() {
            if let Some((variable, after)) = rest.strip_prefix("${").and_then(|inner| inner.split_once('}')) {
                let value = match variable {
                    "*" | "?" | "$" => variable,
                    "iot:ClientId" => client_id,
                    "iot:Connection.Thing.ThingName" => self.thing(client_id)?,
                    _ => return None,
                };
                tokens.extend(value.chars().map(Token::Only));
                rest = after;
            } else {
                tokens.push(match next {
                    '*' => Token::Any,
                    '?' => Token::One,
                    other => Token::Only(other),
                });
                rest = &rest[next.len_utf8()..];
            }
        }
        Some(tokens)
    }
}

/// One value, or those of a list.
fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    }
}

fn characters(text: &str) -> Vec<char> {
    text.chars().collect()
}

fn matches(pattern: &[Token], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((Token::Any, after)), None) => matches(after, text),
        (Some((Token::Any, after)), Some((_, rest))) => matches(after, text) || matches(pattern, rest),
        (Some((Token::One, after)), Some((_, rest))) => matches(after, rest),
        (Some((Token::Only(wanted), after)), Some((found, rest))) => wanted == found && matches(after, rest),
        (Some(_), None) => false,
    }
}

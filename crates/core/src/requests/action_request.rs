//! What asks for a goal of a ROS action, or for its end.

use super::members::{self, Members};
use super::{Detail, Identity, Key, Malformed, Received};
use crate::codec::Encoder;

/// A request for an action: `{"id":…,"goal":{…}}` or `{"id":…,"cancel":true}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionRequest {
    Goal {
        identity: Identity,
        /// What the goal is known by from now on.
        key: Key,
        /// The goal (`package/action/Name_Goal`), serialized. Behind its header of 4 bytes and the 16 bytes of a goal id it is the
        /// request of the action's service `send_goal`: 16 bytes do not change how anything is aligned.
        cdr: Vec<u8>,
    },
    Cancel {
        identity: Identity,
        /// What the goal is known by that is to end.
        key: Key,
    },
}

impl ActionRequest {
    /// Reads what has come; `goal` encodes the action's goals.
    ///
    /// # Errors
    /// [`Malformed`] with what is wrong. A retained one always is, and so is one without id.
    pub fn read(received: &Received, goal: &Encoder) -> Result<Self, Malformed> {
        let Members { identity, values } = Members::read(received, ["goal", "cancel"])?;
        received.check_not_retained(&identity)?;
        let malformed = |detail| Malformed { identity: identity.clone(), detail };
        let Some(key) = identity.key() else {
            return Err(malformed(Detail::new("`id` is missing, which names the goal")));
        };
        match values {
            [Some(json), None] => match members::encode(goal, received.payload, json.get().as_bytes()) {
                Ok(cdr) => Ok(ActionRequest::Goal { identity, key, cdr }),
                Err(error) => Err(malformed(Detail::new(error))),
            },
            [None, Some(json)] if json.get() == "true" => Ok(ActionRequest::Cancel { identity, key }),
            [None, Some(_)] => Err(malformed(Detail::new("`cancel` takes true alone"))),
            _ => Err(malformed(Detail::new("either `goal` or `cancel` is needed"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Id;
    use super::super::testing::{encoder, received, text};
    use super::*;

    #[test]
    fn goals_and_their_end_are_told_apart() {
        let read = |json: &str| ActionRequest::read(&received(json.as_bytes()), &encoder());
        let key = Key::Id(Id::Number("7".into()));
        let goal = read(r#"{"goal":{"linear":{"x":1}},"id":7}"#).unwrap();
        assert!(
            matches!(&goal, ActionRequest::Goal { key: known, cdr, .. } if *known == key && cdr.len() == 52),
            "{goal:?}"
        );
        let cancel = read(r#"{"id":7,"cancel":true}"#).unwrap();
        assert!(matches!(&cancel, ActionRequest::Cancel { key: known, .. } if *known == key), "{cancel:?}");
        for (json, detail) in [
            (r#"{"goal":{}}"#, "`id` is missing, which names the goal"),
            (r#"{"id":7}"#, "either `goal` or `cancel` is needed"),
            (r#"{"id":7,"goal":{},"cancel":true}"#, "either `goal` or `cancel` is needed"),
            (r#"{"id":7,"cancel":false}"#, "`cancel` takes true alone"),
            (
                r#"{"id":7,"goal":{"linear":7}}"#,
                "field linear: an object (geometry_msgs/msg/Vector3) is needed, a number stands there",
            ),
            (r#"{"id":7,"goals":{}}"#, "it has a member goals; allowed are id, goal, cancel"),
        ] {
            let id = if json.contains("id") { r#""id":7,"# } else { "" };
            let expected = format!(r#"{{{id}"status":"malformed","detail":"{detail}"}}"#);
            assert_eq!(text(read(json).unwrap_err().status()), expected, "{json}");
        }
    }
}

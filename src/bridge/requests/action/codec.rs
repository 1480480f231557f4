//! The type of an action, between JSON and CDR.
//!
//! The bridge adds goal ids to goals, and takes them off feedback: 16 bytes, at the start of the message, which change nothing of
//! how what follows is aligned. Requests for results and cancels are of the same layout for every action
//! (action_msgs/srv/CancelGoal, unique_identifier_msgs/msg/UUID).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bridge::requests::clients::Callable;
use crate::bridge::requests::json::{json_of, too_large, unreadable};
use crate::ros::{ActionClient, ActionType, Node, OnArrival, RosError};
use iot_bridge_core::codec::{DecodeError, Decoder, Encoder, JsonBuffer, Kind, Schema};
use iot_bridge_core::requests::Detail;

/// The encapsulation header of what the bridge writes: CDR, little endian.
const HEADER: [u8; 4] = [0, 1, 0, 0];

/// Most bytes of a list of statuses as JSON. A server forgets goals some seconds after their end.
const STATUSES: usize = 4 << 20;

/// A goal on ROS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GoalId([u8; 16]);

impl GoalId {
    /// One that nobody else has (RFC 9562, version 4).
    pub fn random() -> GoalId {
        let mut id: [u8; 16] = rand::random();
        id[6] = (id[6] & 0x0f) | 0x40;
        id[8] = (id[8] & 0x3f) | 0x80;
        GoalId(id)
    }

    /// The request that sends the goal `cdr`.
    pub fn with(self, cdr: &[u8]) -> Vec<u8> {
        let (header, goal) = cdr.split_at(HEADER.len().min(cdr.len()));
        [header, &self.0, goal].concat()
    }

    /// The request for its result.
    pub fn result(self) -> Vec<u8> {
        [&HEADER[..], &self.0].concat()
    }

    /// The request to cancel it: with a stamp of zero, it and no other goal.
    pub fn cancel(self) -> Vec<u8> {
        [&HEADER[..], &self.0, &[0; 8]].concat()
    }
}

/// How a goal has ended.
pub(super) struct Ended {
    /// As in action_msgs/msg/GoalStatus.
    pub status: i8,
    /// As JSON.
    pub json: Result<Box<RawValue>, Detail>,
}

impl Ended {
    pub const UNKNOWN: i8 = 0;
    pub const EXECUTING: i8 = 2;
    pub const CANCELING: i8 = 3;
    pub const SUCCEEDED: i8 = 4;
    pub const CANCELED: i8 = 5;
    pub const ABORTED: i8 = 6;
}

pub(super) struct Codec {
    action_type: ActionType,
    pub goal: Encoder,
    accepted: Decoder,
    result: Decoder,
    feedback: Decoder,
    canceled: Decoder,
    status: Decoder,
}

impl Callable for Codec {
    type Client = ActionClient;

    fn load(type_name: &str) -> anyhow::Result<Codec> {
        let action_type = ActionType::load(type_name)?;
        let decoder = |schema: &Arc<Schema>| Decoder::new(Arc::clone(schema));
        let request = action_type.send_goal.request();
        let goal = Encoder::new(within(request.schema(), "goal")?, &request.defaults()?, &[])?;
        Ok(Codec {
            goal,
            accepted: decoder(action_type.send_goal.response().schema())?,
            result: decoder(action_type.get_result.response().schema())?,
            feedback: decoder(within(action_type.feedback.schema(), "feedback")?)?,
            canceled: decoder(action_type.cancel_goal.response().schema())?,
            status: decoder(action_type.status.schema())?,
            action_type,
        })
    }

    fn client(&self, node: &Arc<Node>, name: &str, wake: &OnArrival) -> Result<ActionClient, RosError> {
        ActionClient::create(node, name, &self.action_type, wake)
    }

    fn is_available(client: &ActionClient) -> Result<bool, RosError> {
        client.is_available()
    }
}

/// The message in the field `name`, the second one behind a goal id.
fn within<'a>(schema: &'a Schema, name: &str) -> anyhow::Result<&'a Arc<Schema>> {
    match schema.fields.as_slice() {
        [_, field]
            if field.name == name
                && let Kind::Message(message) = &field.kind =>
        {
            Ok(message)
        }
        _ => anyhow::bail!("{} is no part of an action", schema.name),
    }
}

impl Codec {
    /// Whether a goal was accepted.
    pub fn accepted(&self, cdr: &[u8]) -> Result<bool, Detail> {
        #[derive(Deserialize)]
        struct Response {
            accepted: bool,
        }
        read(&self.accepted, cdr).map(|Response { accepted }| accepted)
    }

    /// How a goal has ended.
    pub fn result(&self, cdr: &[u8]) -> Result<Ended, Detail> {
        #[derive(Deserialize)]
        struct Response {
            status: i8,
            result: Box<RawValue>,
        }
        match json_of(&self.result, cdr) {
            Ok(json) => parse(&json).map(|Response { status, result }| Ended { status, json: Ok(result) }),
            // The status is the first byte.
            Err(DecodeError::TooLarge { .. }) if cdr.len() > HEADER.len() => {
                Ok(Ended { status: cdr[HEADER.len()] as i8, json: Err(too_large()) })
            }
            Err(error) => Err(unreadable(error)),
        }
    }

    /// How many goals are canceled upon a request.
    pub fn canceling(&self, cdr: &[u8]) -> Result<usize, Detail> {
        #[derive(Deserialize)]
        struct Response {
            goals_canceling: Vec<serde::de::IgnoredAny>,
        }
        read(&self.canceled, cdr).map(|Response { goals_canceling }| goals_canceling.len())
    }

    /// The goal that feedback is of, and the feedback as CDR. `None` if it is no feedback.
    pub fn feedback_of(cdr: &[u8]) -> Option<(GoalId, Vec<u8>)> {
        let (header, rest) = cdr.split_at_checked(HEADER.len())?;
        let (id, feedback) = rest.split_first_chunk()?;
        Some((GoalId(*id), [header, feedback].concat()))
    }

    /// Feedback as JSON.
    pub fn feedback(&self, cdr: &[u8]) -> Result<Vec<u8>, Detail> {
        json_of(&self.feedback, cdr).map_err(unreadable)
    }

    /// What a server tells of its goals.
    pub fn statuses(&self, cdr: &[u8]) -> Vec<(GoalId, i8)> {
        #[derive(Deserialize)]
        struct Array {
            status_list: Vec<Status>,
        }
        #[derive(Deserialize)]
        struct Status {
            goal_info: Info,
            status: i8,
        }
        #[derive(Deserialize)]
        struct Info {
            goal_id: Uuid,
        }
        #[derive(Deserialize)]
        struct Uuid {
            uuid: String,
        }
        let mut json = JsonBuffer::new(STATUSES);
        let array =
            self.status.write_json(cdr, &mut json).ok().and_then(|()| serde_json::from_slice(json.as_bytes()).ok());
        let Some(Array { status_list }) = array else { return Vec::new() };
        let status = |Status { goal_info, status }: Status| {
            let id = BASE64.decode(goal_info.goal_id.uuid).ok()?.try_into().ok()?;
            Some((GoalId(id), status))
        };
        status_list.into_iter().filter_map(status).collect()
    }
}

/// The message in `cdr`, by way of JSON.
fn read<T: serde::de::DeserializeOwned>(decoder: &Decoder, cdr: &[u8]) -> Result<T, Detail> {
    parse(&json_of(decoder, cdr).map_err(unreadable)?)
}

fn parse<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, Detail> {
    serde_json::from_slice(json).map_err(|_| Detail::new("the robot has answered what is no part of an action"))
}

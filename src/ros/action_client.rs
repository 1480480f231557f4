//! A generic client of an action of any type: three services and two topics (design.ros2.org, "Actions").

use std::sync::Arc;

use super::arrivals::OnArrival;
use super::client::Client;
use super::context::Node;
use super::error::RosError;
use super::qos::Qos;
use super::reader::Reader;
use super::service_type::ActionType;

/// Feedback that DDS keeps until it is taken: that of many goals comes on one topic.
const FEEDBACK_DEPTH: usize = 100;

/// The parts of one action, on one node.
pub struct ActionClient {
    pub send_goal: Client,
    pub get_result: Client,
    pub cancel_goal: Client,
    pub feedback: Reader,
    pub status: Reader,
}

impl ActionClient {
    /// A client of `action`, an absolute name. `wake` is called when there is something to be taken of one of the parts.
    ///
    /// # Errors
    /// rcl's own.
    pub fn create(
        node: &Arc<Node>,
        action: &str,
        action_type: &ActionType,
        wake: &OnArrival,
    ) -> Result<ActionClient, RosError> {
        let name = |part| format!("{action}/_action/{part}");
        let ActionType { send_goal, get_result, cancel_goal, feedback, status } = action_type;
        // As rcl_action has it: what goals there are is told to who comes late.
        let all = Qos { reliable: true, transient_local: false, depth: FEEDBACK_DEPTH };
        let latest = Qos { reliable: true, transient_local: true, depth: 1 };
        Ok(ActionClient {
            send_goal: Client::create(node, &name("send_goal"), send_goal, wake)?,
            get_result: Client::create(node, &name("get_result"), get_result, wake)?,
            cancel_goal: Client::create(node, &name("cancel_goal"), cancel_goal, wake)?,
            feedback: Reader::create(node, &name("feedback"), feedback, all, wake)?,
            status: Reader::create(node, &name("status"), status, latest, wake)?,
        })
    }

    /// Whether there is a server, all parts of it.
    ///
    /// # Errors
    /// rcl's own.
    pub fn is_available(&self) -> Result<bool, RosError> {
        for client in [&self.send_goal, &self.get_result, &self.cancel_goal] {
            if !client.is_available()? {
                return Ok(false);
            }
        }
        Ok([&self.feedback, &self.status].iter().all(|reader| reader.publishers().is_some_and(|count| count > 0)))
    }
}

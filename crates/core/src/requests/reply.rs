//! What is replied: one JSON object, without an `id` where there was none, or where correlation data takes its place.

use serde_json::Value;

use super::{Detail, Identity, Malformed, Refused};

/// Why there is no response of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceError {
    /// The server did not respond within `timeout`.
    Timeout,
    /// There is no server, or none any more.
    Unavailable,
    /// The request can't be read, or is none of the service's type.
    Malformed,
}

impl ServiceError {
    pub fn label(self) -> &'static str {
        match self {
            ServiceError::Timeout => "timeout",
            ServiceError::Unavailable => "unavailable",
            ServiceError::Malformed => "malformed",
        }
    }
}

/// How it stands with a goal of an action, or with a request for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GoalStatus {
    Accepted,
    Rejected,
    Executing,
    Canceling,
    Succeeded,
    Canceled,
    Aborted,
    Unavailable,
    Malformed,
}

impl GoalStatus {
    pub fn label(self) -> &'static str {
        match self {
            GoalStatus::Accepted => "accepted",
            GoalStatus::Rejected => "rejected",
            GoalStatus::Executing => "executing",
            GoalStatus::Canceling => "canceling",
            GoalStatus::Succeeded => "succeeded",
            GoalStatus::Canceled => "canceled",
            GoalStatus::Aborted => "aborted",
            GoalStatus::Unavailable => "unavailable",
            GoalStatus::Malformed => "malformed",
        }
    }
}

impl Identity {
    /// `{"id":…,"accepted":true}`: the command was published.
    pub fn accepted(&self) -> Vec<u8> {
        Reply::to(self).member("accepted", b"true").end()
    }

    /// `{"id":…,"response":{…}}`, with the service's response as JSON.
    pub fn response(&self, response: &[u8]) -> Vec<u8> {
        Reply::to(self).member("response", response).end()
    }

    /// `{"id":…,"error":"…","detail":"…"}`: there is no response.
    pub fn no_response(&self, error: ServiceError, detail: &Detail) -> Vec<u8> {
        Reply::to(self).text("error", error.label()).text("detail", detail.as_str()).end()
    }

    /// `{"id":…,"status":"…"}`, with the action's result as JSON, and with a detail where the status needs one.
    pub fn status(&self, status: GoalStatus, result: Option<&[u8]>, detail: Option<&Detail>) -> Vec<u8> {
        let mut reply = Reply::to(self).text("status", status.label());
        if let Some(result) = result {
            reply = reply.member("result", result);
        }
        if let Some(detail) = detail {
            reply = reply.text("detail", detail.as_str());
        }
        reply.end()
    }

    /// `{"id":…,"feedback":{…}}`, with the action's feedback as JSON.
    pub fn feedback(&self, feedback: &[u8]) -> Vec<u8> {
        Reply::to(self).member("feedback", feedback).end()
    }
}

impl Refused {
    /// `{"id":…,"accepted":false,"reason":"…","detail":"…"}`.
    pub fn reply(&self) -> Vec<u8> {
        let reply = Reply::to(&self.identity).member("accepted", b"false");
        reply.text("reason", self.reason.label()).text("detail", self.detail.as_str()).end()
    }
}

impl Malformed {
    /// The reply of a service.
    pub fn no_response(&self) -> Vec<u8> {
        self.identity.no_response(ServiceError::Malformed, &self.detail)
    }

    /// The reply of an action.
    pub fn status(&self) -> Vec<u8> {
        self.identity.status(GoalStatus::Malformed, None, Some(&self.detail))
    }
}

/// An object in the making.
struct Reply(Vec<u8>);

impl Reply {
    fn to(identity: &Identity) -> Self {
        let reply = Reply(Vec::new());
        match &identity.id {
            Some(id) if identity.correlation_data.is_none() => {
                let mut json = Vec::new();
                id.write(&mut json);
                reply.member("id", &json)
            }
            _ => reply,
        }
    }

    fn member(mut self, name: &str, json: &[u8]) -> Self {
        self.0.extend(if self.0.is_empty() { b"{\"" } else { b",\"" });
        self.0.extend(name.bytes());
        self.0.extend(b"\":");
        self.0.extend(json);
        self
    }

    fn text(self, name: &str, text: &str) -> Self {
        self.member(name, Value::from(text).to_string().as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::testing::text;
    use super::super::{Id, Reason};
    use super::*;

    #[test]
    fn replies_are_one_object() {
        let identity = Identity { id: Some(Id::Text("a\"".into())), correlation_data: None };
        let detail = Detail::new("a \"name\"");
        assert_eq!(text(identity.accepted()), r#"{"id":"a\"","accepted":true}"#);
        assert_eq!(text(identity.response(br#"{"success":true}"#)), r#"{"id":"a\"","response":{"success":true}}"#);
        assert_eq!(
            text(identity.no_response(ServiceError::Timeout, &detail)),
            r#"{"id":"a\"","error":"timeout","detail":"a \"name\""}"#
        );
        assert_eq!(text(identity.status(GoalStatus::Executing, None, None)), r#"{"id":"a\"","status":"executing"}"#);
        assert_eq!(
            text(identity.status(GoalStatus::Succeeded, Some(br#"{"n":1}"#), None)),
            r#"{"id":"a\"","status":"succeeded","result":{"n":1}}"#
        );
        assert_eq!(
            text(identity.status(GoalStatus::Unavailable, None, Some(&detail))),
            r#"{"id":"a\"","status":"unavailable","detail":"a \"name\""}"#
        );
        assert_eq!(text(identity.feedback(br#"{"n":1}"#)), r#"{"id":"a\"","feedback":{"n":1}}"#);
    }

    /// There is none without one, and none where correlation data comes back.
    #[test]
    fn an_id_is_in_the_reply_unless_correlation_data_is() {
        let nobody = Identity::default();
        let refused = |identity: &Identity| {
            let (reason, detail) = (Reason::TooFast, Detail::new("x"));
            text(Refused { identity: identity.clone(), reason, detail }.reply())
        };
        let without = r#"{"accepted":false,"reason":"too_fast","detail":"x"}"#;
        assert_eq!((text(nobody.accepted()).as_str(), refused(&nobody).as_str()), (r#"{"accepted":true}"#, without));
        let id = Some(Id::Number("-7".into()));
        let with_id = Identity { id, correlation_data: None };
        assert_eq!(refused(&with_id), r#"{"id":-7,"accepted":false,"reason":"too_fast","detail":"x"}"#);
        let with_both = Identity { correlation_data: Some(Bytes::from_static(b"x")), ..with_id };
        assert_eq!(refused(&with_both), without);
        let malformed = Malformed { identity: with_both, detail: Detail::new("x") };
        assert_eq!(text(malformed.no_response()), r#"{"error":"malformed","detail":"x"}"#);
    }
}

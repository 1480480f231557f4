//! What asks for a ROS service to be called.

use super::members::{self, Members};
use super::{Detail, Identity, Malformed, Received};
use crate::codec::Encoder;

/// A request for a service: `{"id":…,"request":{…}}`. The `id` may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRequest {
    pub identity: Identity,
    /// The service's request, serialized.
    pub cdr: Vec<u8>,
}

impl ServiceRequest {
    /// Reads what has come; `request` encodes the service's requests.
    ///
    /// # Errors
    /// [`Malformed`] with what is wrong. A retained one always is.
    pub fn read(received: &Received, request: &Encoder) -> Result<Self, Malformed> {
        let Members { identity, values: [json] } = Members::read(received, ["request"])?;
        received.check_not_retained(&identity)?;
        let encoded = match json {
            Some(json) => members::encode(request, received.payload, json.get().as_bytes()).map_err(Detail::new),
            None => Err(Detail::new("`request` is missing, which holds the service's request")),
        };
        match encoded {
            Ok(cdr) => Ok(ServiceRequest { identity, cdr }),
            Err(detail) => Err(Malformed { identity, detail }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{encoder, received, text};
    use super::*;

    #[test]
    fn a_request_is_encoded_or_malformed() {
        let read = |json: &str| ServiceRequest::read(&received(json.as_bytes()), &encoder());
        let request = read(r#"{"request":{"linear":{"x":1}},"id":"a"}"#).unwrap();
        assert_eq!(text(request.identity.response(b"{}")), r#"{"id":"a","response":{}}"#);
        assert_eq!((request.cdr.len(), &request.cdr[4..12]), (52, &1f64.to_le_bytes()[..]));
        assert!(read(r#"{"request":{}}"#).is_ok());
        for (json, reply) in [
            (
                r#"{"id":"a"}"#,
                r#"{"id":"a","error":"malformed","detail":"`request` is missing, which holds the service's request"}"#,
            ),
            (
                r#"{"id":"a","request":{"x":1}}"#,
                r#"{"id":"a","error":"malformed","detail":"field x: geometry_msgs/msg/Twist has no such field"}"#,
            ),
            (
                r#"{"id":"a","msg":{}}"#,
                r#"{"id":"a","error":"malformed","detail":"it has a member msg; allowed are id, request"}"#,
            ),
        ] {
            assert_eq!(text(read(json).unwrap_err().no_response()), reply, "{json}");
        }
    }

    /// A service is not called for somebody who has asked nobody knows when.
    #[test]
    fn what_was_retained_is_not_done() {
        let retained = Received { retain: true, ..received(br#"{"id":1,"request":{}}"#) };
        let malformed = ServiceRequest::read(&retained, &encoder()).unwrap_err();
        assert!(malformed.detail.as_str().starts_with("the broker had kept it"), "{malformed:?}");
        assert_eq!(malformed.identity.id, Some(super::super::Id::Number("1".into())));
        let goal = Received { retain: true, ..received(br#"{"id":1,"goal":{}}"#) };
        let malformed = super::super::ActionRequest::read(&goal, &encoder()).unwrap_err();
        assert!(malformed.detail.as_str().starts_with("the broker had kept it"), "{malformed:?}");
    }
}

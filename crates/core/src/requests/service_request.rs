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

//! The calls about shadows, which go to the data plane.

use aws_sdk_iotdataplane::primitives::Blob;
use serde_json::Value;

use super::Aws;
use super::calls::{call, if_there};
use crate::failure::Failure;

impl Aws {
    /// The document of a named shadow; `None` if there is none, also where there is no such thing.
    pub async fn shadow(&self, thing: &str, shadow: &str) -> Result<Option<Value>, Failure> {
        let request = self.data.get_thing_shadow().thing_name(thing).shadow_name(shadow);
        let Some(answer) = if_there(call!(self, "iot:GetThingShadow", thing, request))? else { return Ok(None) };
        let document = answer.payload.unwrap_or_else(|| Blob::new(Vec::new()));
        match serde_json::from_slice(document.as_ref()) {
            Ok(document) => Ok(Some(document)),
            Err(_) => Err(Failure::other(format!("the shadow {shadow} of {thing} is not JSON"))),
        }
    }

    /// Merges `document`, `{"state":{…},"version":7}`, into a named shadow. One that is not there is made. With a version, that
    /// has to be the shadow's: else it is a failure of the kind `InUse`, and nothing is changed.
    pub async fn update_shadow(&self, thing: &str, shadow: &str, document: &Value) -> Result<(), Failure> {
        let payload = Blob::new(document.to_string());
        let request = self.data.update_thing_shadow().thing_name(thing).shadow_name(shadow).payload(payload);
        call!(self, "iot:UpdateThingShadow", thing, request).map(drop)
    }
}

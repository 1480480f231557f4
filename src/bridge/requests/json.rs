//! What ROS has answered, as JSON for a reply.

use iot_bridge_core::codec::{DecodeError, Decoder, JsonBuffer};
use iot_bridge_core::config::PAYLOAD_LIMIT;
use iot_bridge_core::requests::Detail;

/// The message in `cdr` as JSON.
///
/// # Errors
/// Also if it is longer than any reply.
pub(super) fn json_of(decoder: &Decoder, cdr: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut json = JsonBuffer::new(PAYLOAD_LIMIT);
    decoder.write_json(cdr, &mut json)?;
    Ok(json.as_bytes().to_vec())
}

/// What a reply says instead of that.
pub(super) fn unreadable(error: DecodeError) -> Detail {
    match error {
        DecodeError::TooLarge { .. } => too_large(),
        error => Detail::new(format_args!("the robot has answered what can't be read: {error}")),
    }
}

/// It was done, and the reply has no room for what came of it.
pub(super) fn too_large() -> Detail {
    Detail::new(format_args!("the robot has answered, with more than the {PAYLOAD_LIMIT} bytes that a reply may have"))
}

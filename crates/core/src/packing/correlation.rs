//! The correlation data of a reply, on its way through the queue.
//!
//! ```text
//!  0 u16                          · payload        a reply to a request without correlation data
//!  1 + length of data u16 · data  · payload        one to a request with it, be that of no bytes
//! ```
//!
//! The numbers are little endian. It stands in the record and not in its route, because each reply has its own.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Most bytes of correlation data that a reply brings back. AWS IoT Core's rules and HTTP interface take 1024 characters of
/// base64 (`MqttHeaders` in its API reference), which are 768 bytes; others who ask use some ten.
pub const MOST_CORRELATION: usize = 1024;

/// Bytes of its length.
const LENGTH: usize = 2;

/// Most bytes that a record is longer than its payload.
pub(super) const LONGEST: usize = LENGTH + MOST_CORRELATION;

/// A payload, and what goes with it in MQTT 5. MQTT 3.1.1 has no place for it: who asks in that version puts an `id` into
/// the request, and finds it in the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlated {
    /// What the request had as its correlation data; `None` if it had none.
    pub data: Option<Bytes>,
    pub payload: Bytes,
}

impl Correlated {
    /// Makes one record of both, without spare capacity. `None` if the correlation data has more than
    /// [`MOST_CORRELATION`] bytes.
    pub fn join(data: Option<&[u8]>, payload: &[u8]) -> Option<Bytes> {
        let length = data.map_or(0, <[u8]>::len);
        if length > MOST_CORRELATION {
            return None;
        }
        let mut record = BytesMut::with_capacity(LENGTH + length + payload.len());
        record.put_u16_le(data.map_or(0, |data| 1 + data.len() as u16));
        record.put_slice(data.unwrap_or_default());
        record.put_slice(payload);
        Some(record.freeze())
    }

    /// Takes a record apart. One that [`join`](Correlated::join) has not made is taken for a payload.
    pub(super) fn split(mut record: Bytes) -> Correlated {
        let Some(head) = record.first_chunk::<LENGTH>() else { return Correlated { data: None, payload: record } };
        let length = usize::from(u16::from_le_bytes(*head)).checked_sub(1);
        if length.is_some_and(|length| length > MOST_CORRELATION || length > record.len() - LENGTH) {
            return Correlated { data: None, payload: record };
        }
        record.advance(LENGTH);
        let data = length.map(|length| record.split_to(length));
        Correlated { data, payload: record }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::packing::Packing;

    proptest! {
        /// Whatever they are, correlation data and payload come out as they went in; data of no bytes is not none.
        #[test]
        fn correlation_data_and_payload_come_out_as_they_went_in(
            data in prop::option::of(vec(any::<u8>(), 0..=MOST_CORRELATION)),
            payload in vec(any::<u8>(), 0..300),
        ) {
            let record = Correlated::join(data.as_deref(), &payload).unwrap();
            prop_assert!(record.len() <= payload.len() + LONGEST);
            let expected = Correlated { data: data.map(Bytes::from), payload: payload.into() };
            prop_assert_eq!(Packing::of_replies().split(record), expected);
        }

        /// A record of anything, as a damaged disk may have it, is taken apart or left as it is.
        #[test]
        fn anything_is_taken_apart(record in vec(any::<u8>(), 0..40)) {
            let Correlated { data, payload } = Packing::of_replies().split(record.clone().into());
            prop_assert!(data.map_or(0, |data| data.len()) + payload.len() <= record.len());
            prop_assert_eq!(Packing::default().split(record.clone().into()), Correlated { data: None, payload: record.into() });
        }
    }

    /// More than is brought back is refused, so that a request with it can be.
    #[test]
    fn too_much_correlation_data_is_refused() {
        assert!(Correlated::join(Some(&[7; MOST_CORRELATION]), b"{}").is_some());
        assert_eq!(Correlated::join(Some(&[7; MOST_CORRELATION + 1]), b"{}"), None);
    }
}

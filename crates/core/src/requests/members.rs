//! The object around what is asked for: its `id` and few other members, each known by its name.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Detail, Id, Identity, Malformed, Received};
use crate::codec::{EncodeError, EncodeFault, Encoder};
use crate::config::PAYLOAD_LIMIT;

/// The object of a payload, whose members have the names `N`, beside an `id` that it need not have.
pub(super) struct Members<'a, const N: usize> {
    pub(super) identity: Identity,
    /// In the order of the names.
    pub(super) values: [Option<&'a RawValue>; N],
}

impl<'a, const N: usize> Members<'a, N> {
    /// Reads the payload in one pass. What the members hold is passed over: its syntax is looked at, nothing is built of it.
    pub(super) fn read(received: &Received<'a>, names: [&'static str; N]) -> Result<Self, Malformed> {
        let payload = received.payload;
        let mut identity = received.identity();
        if let Err(detail) = check_length(payload) {
            return Err(Malformed { identity, detail });
        }
        let mut fault = None;
        let mut json = serde_json::Deserializer::from_slice(payload);
        let object = Object { names, id: &mut identity.id, fault: &mut fault };
        match json.deserialize_any(object).and_then(|values| json.end().map(|()| values)) {
            Ok(values) => Ok(Members { identity, values }),
            Err(error) => {
                let detail = fault.unwrap_or_else(|| Detail::new(EncodeFault::syntax(payload, payload, &error)));
                Err(Malformed { identity, detail })
            }
        }
    }
}

/// That `payload` is no longer than AWS IoT Core takes one.
pub(super) fn check_length(payload: &[u8]) -> Result<(), Detail> {
    if payload.len() <= PAYLOAD_LIMIT {
        return Ok(());
    }
    Err(Detail::new(format_args!("it has {} bytes; at most {PAYLOAD_LIMIT} are read", payload.len())))
}

/// Encodes `message`, which is a piece of `payload`, or all of it.
pub(super) fn encode(encoder: &Encoder, payload: &[u8], message: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let mut cdr = Vec::new();
    encoder.encode(message, &mut cdr).map_err(|mut error| {
        if let EncodeFault::Syntax { offset, .. } = &mut error.fault {
            *offset += (message.as_ptr() as usize).saturating_sub(payload.as_ptr() as usize);
        }
        error
    })?;
    Ok(cdr)
}

impl Received<'_> {
    /// Who has sent a request for a service or an action, as far as it can be read: for who can't look at what is asked for.
    pub fn sender(&self) -> Identity {
        match Members::read(self, ["request", "goal", "cancel"]) {
            Ok(Members { identity, .. }) | Err(Malformed { identity, .. }) => identity,
        }
    }

    /// What is known of who has sent it before the payload is read.
    pub(super) fn identity(&self) -> Identity {
        Identity { id: None, correlation_data: self.correlation_data.map(Bytes::copy_from_slice) }
    }
}

struct Object<'o, const N: usize> {
    names: [&'static str; N],
    /// Here the id is put as soon as it was read, so that it is known whatever follows.
    id: &'o mut Option<Id>,
    /// What stopped it, if that was no fault of JSON.
    fault: &'o mut Option<Detail>,
}

impl<'de, const N: usize> Visitor<'de> for Object<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "an object with {}", self.allowed())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        self.no_object("true or false")
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        self.no_object("a number")
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        self.no_object("a number")
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        self.no_object("a number")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        self.no_object("text")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        self.no_object("null")
    }

    fn visit_seq<A>(self, _: A) -> Result<Self::Value, A::Error>
    where
        A: serde::de::SeqAccess<'de>,
    {
        self.no_object("an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut values = [None; N];
        let mut has_id = false;
        while let Some(name) = members.next_key_seed(Name(self.names))? {
            let is_second = match name {
                Member::Id => std::mem::replace(&mut has_id, true),
                Member::Named(index) => values[index].is_some(),
                Member::Unknown(name) => {
                    let allowed = self.allowed();
                    return self.stop(format_args!("it has a member {name}; allowed are {allowed}"));
                }
            };
            if is_second {
                // Which of them was meant?
                *self.id = self.id.take().filter(|_| !matches!(name, Member::Id));
                return self.stop("it has the same member twice");
            }
            let value: &RawValue = members.next_value()?;
            match name {
                Member::Named(index) => values[index] = Some(value),
                _ => match Id::read(value.get()) {
                    Ok(id) => *self.id = Some(id),
                    Err(words) => return self.stop(words),
                },
            }
        }
        Ok(values)
    }
}

impl<const N: usize> Object<'_, N> {
    fn allowed(&self) -> String {
        format!("id, {}", self.names.join(", "))
    }

    fn no_object<T, E: Error>(self, found: &str) -> Result<T, E> {
        let allowed = self.allowed();
        self.stop(format_args!("an object with {allowed} is needed, {found} stands there"))
    }

    fn stop<T, E: Error>(self, words: impl fmt::Display) -> Result<T, E> {
        *self.fault = Some(Detail::new(words));
        Err(E::custom("the object does not fit"))
    }
}

/// Reads the name of a member.
struct Name<const N: usize>([&'static str; N]);

enum Member {
    Id,
    /// By the index of its name.
    Named(usize),
    /// Fit to be shown.
    Unknown(String),
}

impl<'de, const N: usize> DeserializeSeed<'de> for Name<N> {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Member, D::Error> {
        json.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for Name<N> {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Member, E> {
        if name == "id" {
            return Ok(Member::Id);
        }
        let found = self.0.iter().position(|known| *known == name);
        Ok(found.map_or_else(|| Member::Unknown(EncodeError::shown(name)), Member::Named))
    }
}

//! The pass over a text: read a value, write a value, as the plan says.
//!
//! A field whose turn it is in the message is written as it is read. One that comes early is remembered as its piece of the
//! text, and read when its turn comes; so nothing of the message is kept but its bytes.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Encoder;
use super::error::{EncodeError, EncodeFault, Expected};
use super::limits::Node;
use super::number;
use super::plan::{Field, Item, Plan};
use crate::codec::Count;
use crate::codec::cdr_writer::CdrWriter;

/// One text on its way to a message.
pub(super) struct Pass<'de> {
    text: &'de [u8],
    out: CdrWriter,
    /// What stopped it, if that was no fault of JSON.
    fault: Option<EncodeFault>,
    /// Where it stopped. It grows from its end, on the way out of the message.
    path: String,
}

impl<'de> Pass<'de> {
    pub(super) fn new(text: &'de [u8], out: CdrWriter) -> Self {
        Pass { text, out, fault: None, path: String::new() }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out.into_bytes()
    }

    /// Writes the message that the text holds.
    pub(super) fn message(&mut self, message: &Item, limits: &Node) -> Result<(), EncodeError> {
        // What is known to be UTF-8 is not asked again value by value; what is not is read up to where that shows.
        let read = match str::from_utf8(self.text) {
            Ok(text) => self.whole(serde_json::Deserializer::from_str(text), message, limits),
            Err(_) => self.whole(serde_json::Deserializer::from_slice(self.text), message, limits),
        };
        read.map_err(|error| {
            let fault = self.fault.take().unwrap_or_else(|| EncodeFault::syntax(self.text, self.text, &error));
            EncodeError { path: std::mem::take(&mut self.path), fault }
        })
    }

    fn whole<R: serde_json::de::Read<'de>>(
        &mut self,
        mut json: serde_json::Deserializer<R>,
        message: &Item,
        limits: &Node,
    ) -> serde_json::Result<()> {
        let value = Value { pass: self, item: message, count: Count::One, limits: Some(limits) };
        value.deserialize(&mut json).and_then(|()| json.end())
    }

    /// Reads a field of which the piece of the text was remembered.
    fn remembered<E: Error>(&mut self, text: &'de RawValue, field: &Field, limits: Option<&Node>) -> Result<(), E> {
        let text = text.get();
        let mut json = serde_json::Deserializer::from_str(text);
        let read = Value { pass: self, item: &field.item, count: field.count, limits }.deserialize(&mut json);
        read.map_err(|error| {
            let fault = self.fault.take().unwrap_or_else(|| EncodeFault::syntax(self.text, text.as_bytes(), &error));
            let error = self.stop(fault);
            self.within(&field.name, error)
        })
    }

    /// Ends the pass. The error that is returned says nothing by itself.
    #[cold]
    fn stop<E: Error>(&mut self, fault: EncodeFault) -> E {
        self.fault = Some(fault);
        E::custom("the message does not fit its type")
    }

    /// Says that it stopped within `name`.
    #[cold]
    fn within<E>(&mut self, name: &str, error: E) -> E {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{dot}{}", self.path);
        error
    }

    /// As `result`, with its fault kept.
    fn keep<T, E: Error>(&mut self, result: Result<T, EncodeFault>) -> Result<T, E> {
        result.map_err(|fault| self.stop(fault))
    }

    /// That the message is within [`Encoder::LARGEST`]. To be asked wherever few bytes of text can become many of it.
    fn check_size(&self) -> Result<(), EncodeFault> {
        let limit = Encoder::LARGEST;
        if self.out.body().len() > limit { Err(EncodeFault::TooLarge { limit }) } else { Ok(()) }
    }

    /// Writes what `field` holds by default. The path of a fault is kept.
    fn default_field(&mut self, field: &Field, limits: Option<&Node>) -> Result<(), EncodeFault> {
        let written = self.default_values(field, limits);
        written.map_err(|fault| self.within(&field.name, fault))
    }

    fn default_values(&mut self, field: &Field, limits: Option<&Node>) -> Result<(), EncodeFault> {
        if let Some(default) = &field.default {
            if let Some(length) = default.length {
                self.out.write_length(length);
            }
            self.out.write_aligned(field.item.alignment(), &default.bytes);
            if let Some(limits) = limits {
                let values = number::values(&field.item, &default.bytes);
                if field.count == Count::One {
                    values.into_iter().try_for_each(|value| limits.check(value))?;
                } else {
                    self.check_elements(values, limits)?;
                }
            }
            return self.check_size();
        }
        match (&field.item, field.count) {
            (Item::Message(plan), Count::One) => self.default_message(plan, limits),
            (Item::Message(plan), Count::Array(length)) => (0..length).try_for_each(|index| {
                let limits = limits.map(|limits| limits.element(index));
                self.default_message(plan, limits).map_err(|fault| self.within_element(index, fault))
            }),
            _ => {
                self.out.write_length(0);
                Ok(())
            }
        }
    }

    fn default_message(&mut self, plan: &Plan, limits: Option<&Node>) -> Result<(), EncodeFault> {
        if plan.fields.is_empty() {
            self.out.write_u8(0);
            return self.check_size();
        }
        plan.fields
            .iter()
            .enumerate()
            .try_for_each(|(index, field)| self.default_field(field, limits.and_then(|limits| limits.field(index))))
    }

    fn check_elements(&mut self, values: impl IntoIterator<Item = f64>, limits: &Node) -> Result<(), EncodeFault> {
        values.into_iter().enumerate().try_for_each(|(index, value)| {
            limits.element(index).check(value).map_err(|fault| self.within_element(index, fault))
        })
    }

    /// Says that it stopped in the element at `index`.
    #[cold]
    fn within_element<E>(&mut self, index: usize, error: E) -> E {
        self.within(&format!("[{index}]"), error)
    }

    /// Writes octets that stand as base64 text, into the message itself: it may be long.
    fn octets(&mut self, text: &str, count: Count, limits: Option<&Node>) -> Result<(), EncodeFault> {
        let length = matches!(count, Count::Sequence { .. }).then(|| self.out.leave_length());
        let octets = self.out.write_base64(text).map_err(|_| EncodeFault::Base64)?;
        check_length(count, octets.len(), "bytes")?;
        let outside = limits.and_then(|limits| {
            let check =
                |(index, octet): (usize, &u8)| Some((index, limits.element(index).check((*octet).into()).err()?));
            octets.iter().enumerate().find_map(check)
        });
        let written = octets.len();
        if let Some((index, fault)) = outside {
            return Err(self.within_element(index, fault));
        }
        if let Some(position) = length {
            self.out.fill_in_length(position, written);
        }
        Ok(())
    }

    fn string(&mut self, text: &str, bound: Option<usize>) -> Result<(), EncodeFault> {
        check_characters(text, bound)?;
        if text.contains('\0') {
            return Err(EncodeFault::Nul);
        }
        self.out.write_text(text.as_bytes());
        Ok(())
    }

    fn wide_string(&mut self, text: &str, bound: Option<usize>) -> Result<(), EncodeFault> {
        check_characters(text, bound)?;
        self.out.write_length(text.encode_utf16().count());
        text.encode_utf16().for_each(|unit| self.out.write_u32(unit.into()));
        Ok(())
    }
}

/// Bounds count characters, as rclpy and the decoder do.
fn check_characters(text: &str, bound: Option<usize>) -> Result<(), EncodeFault> {
    match bound {
        Some(bound) if text.len() > bound && text.chars().count() > bound => {
            Err(EncodeFault::OverBound { bound, of: "characters" })
        }
        _ => Ok(()),
    }
}

/// That so many elements are right for `count`.
fn check_length(count: Count, length: usize, of: &'static str) -> Result<(), EncodeFault> {
    match count {
        Count::Array(exact) if exact != length => Err(EncodeFault::Length { length: exact, of }),
        Count::Sequence { bound: Some(bound) } if length > bound => Err(EncodeFault::OverBound { bound, of }),
        _ => Ok(()),
    }
}

/// A value in the JSON text: one, or the array or base64 text of a field of several.
struct Value<'p, 'de, 'e> {
    pass: &'p mut Pass<'de>,
    item: &'e Item,
    count: Count,
    limits: Option<&'e Node>,
}

impl<'de> DeserializeSeed<'de> for Value<'_, 'de, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match (self.count, self.item) {
            (Count::One, Item::String(_) | Item::WideString(_) | Item::Message(_)) => json.deserialize_any(self),
            // By its text, of which nothing is lost.
            (Count::One, _) => {
                let text = <&RawValue>::deserialize(json)?.get();
                let written = number::write(self.item, text, &mut self.pass.out);
                let checked = written.and_then(|value| match (self.limits, value) {
                    (Some(limits), Some(value)) => limits.check(value),
                    _ => Ok(()),
                });
                self.pass.keep(checked)
            }
            _ => json.deserialize_any(self),
        }
    }
}

impl Value<'_, '_, '_> {
    fn expected(&self) -> Expected {
        match (self.count, self.item) {
            (Count::One, Item::String(_) | Item::WideString(_)) => Expected::Text,
            (Count::One, Item::Message(plan)) => Expected::Message(plan.name.clone()),
            (Count::One, _) => unreachable!("numbers are read by their text"),
            (_, Item::U8) => Expected::Base64,
            _ => Expected::Array,
        }
    }

    fn refuse<E: Error>(self, found: &'static str) -> Result<(), E> {
        let expected = self.expected();
        Err(self.pass.stop(EncodeFault::Type { expected, found }))
    }
}

impl<'de> Visitor<'de> for Value<'_, 'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.expected())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.refuse("true or false")
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.refuse("a number")
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.refuse("a number")
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.refuse("a number")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.refuse("null")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let written = match (self.count, self.item) {
            (Count::One, Item::String(bound)) => self.pass.string(text, *bound),
            (Count::One, Item::WideString(bound)) => self.pass.wide_string(text, *bound),
            (Count::Array(_) | Count::Sequence { .. }, Item::U8) => self.pass.octets(text, self.count, self.limits),
            _ => return self.refuse("text"),
        };
        self.pass.keep(written)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        if self.count == Count::One || matches!(self.item, Item::U8) {
            return self.refuse("an array");
        }
        let Value { pass, item, count, limits } = self;
        let (length_at, most) = match count {
            Count::Sequence { bound } => (Some(pass.out.leave_length()), bound.unwrap_or(usize::MAX)),
            Count::Array(length) => (None, length),
            Count::One => (None, 1),
        };
        let mut length = 0;
        loop {
            if length == most {
                let more = elements.next_element::<IgnoredAny>()?.is_some();
                pass.keep(check_length(count, length + usize::from(more), "elements"))?;
                break;
            }
            let limits = limits.map(|limits| limits.element(length));
            let element = Value { pass: &mut *pass, item, count: Count::One, limits };
            match elements.next_element_seed(element) {
                Ok(Some(())) => pass.keep(pass.check_size())?,
                Ok(None) => break,
                Err(error) => return Err(pass.within_element(length, error)),
            }
            length += 1;
        }
        pass.keep(check_length(count, length, "elements"))?;
        if let Some(position) = length_at {
            pass.out.fill_in_length(position, length);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let (Count::One, Item::Message(plan)) = (self.count, self.item) else { return self.refuse("an object") };
        message(self.pass, plan, self.limits, &mut members)
    }
}

/// Reads the members of an object and writes the message.
fn message<'de, A: MapAccess<'de>>(
    pass: &mut Pass<'de>,
    plan: &Plan,
    limits: Option<&Node>,
    members: &mut A,
) -> Result<(), A::Error> {
    let limits = |index: usize| limits.and_then(|limits| limits.field(index));
    // Fields before this one are written.
    let mut next = 0;
    // By field, what came before its turn.
    let mut early: Vec<Option<&'de RawValue>> = Vec::new();
    while let Some(name) = members.next_key_seed(Key { plan, next })? {
        let index = match name {
            Name::Field(index) => index,
            Name::Unknown(shown) => {
                let error = pass.stop(EncodeFault::UnknownField { type_name: plan.name.clone() });
                return Err(pass.within(&shown, error));
            }
        };
        let field = &plan.fields[index];
        if index < next || early.get(index).is_some_and(Option::is_some) {
            let error = pass.stop(EncodeFault::Duplicate);
            return Err(pass.within(&field.name, error));
        }
        if index > next {
            early.resize(plan.fields.len(), None);
            early[index] = Some(members.next_value().map_err(|error| pass.within(&field.name, error))?);
            continue;
        }
        let value = Value { pass: &mut *pass, item: &field.item, count: field.count, limits: limits(index) };
        members.next_value_seed(value).map_err(|error| pass.within(&field.name, error))?;
        next += 1;
        while let Some(text) = early.get(next).copied().flatten() {
            pass.remembered(text, &plan.fields[next], limits(next))?;
            next += 1;
        }
    }
    for (index, field) in plan.fields.iter().enumerate().skip(next) {
        match early.get(index).copied().flatten() {
            Some(text) => pass.remembered(text, field, limits(index))?,
            None => {
                let written = pass.default_field(field, limits(index));
                pass.keep(written)?;
            }
        }
    }
    if plan.fields.is_empty() {
        pass.out.write_u8(0);
    }
    Ok(())
}

/// The name of a member of an object.
struct Key<'e> {
    plan: &'e Plan,
    /// The field that is likely.
    next: usize,
}

/// What a name stands for.
enum Name {
    Field(usize),
    /// Fit to be shown.
    Unknown(String),
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Name, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        let fields = &self.plan.fields;
        if fields.get(self.next).is_some_and(|field| field.name == name) {
            return Ok(Name::Field(self.next));
        }
        let found = fields.iter().position(|field| field.name == name);
        Ok(found.map_or_else(|| Name::Unknown(EncodeError::shown(name)), Name::Field))
    }
}

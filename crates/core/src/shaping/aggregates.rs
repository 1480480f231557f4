//! Mean, least and largest of the numbers in several messages.

use std::sync::Arc;

use super::shaper::Unshapable;
use crate::codec::{
    Count, DecodeError, Decoder, Decoders, Full, JsonBuffer, Kind, Schema, Selection, SelectionError, Value, put_value,
};
use crate::config::{Aggregate, FieldPath};

/// The figures of one type's numbers: of single ones, and of the elements of arrays of fixed size. Times and durations,
/// booleans and octets in arrays are none, and sequences are left out, for they differ in length.
#[derive(Debug)]
pub(super) struct Aggregates {
    /// Selects the numbers alone, so that each message has as many as there are figures.
    decoder: Decoder,
    /// Of [`Aggregate::Mean`], [`Aggregate::Min`] and [`Aggregate::Max`] those that are asked for, in this order.
    wanted: Vec<Aggregate>,
    digits: Option<u8>,
    /// In the order in which the decoder reads the numbers; empty before the first message.
    figures: Vec<Figure>,
    /// The numbers of the message that is read. All of it is read before any of it counts.
    read: Vec<Value<'static>>,
}

impl Aggregates {
    /// For messages of the type that `schema` describes, of which `selection` travels. `None` if nothing of `wanted` has to do
    /// with numbers.
    ///
    /// # Errors
    /// [`Unshapable`] if there is no number among what travels.
    pub(super) fn of(
        wanted: &[Aggregate],
        selection: &Selection,
        schema: &Arc<Schema>,
        decoders: &mut Decoders,
    ) -> Result<Option<Self>, Unshapable> {
        let is_of_numbers = |aggregate: &Aggregate| !matches!(aggregate, Aggregate::Last | Aggregate::Count);
        let wanted: Vec<Aggregate> = wanted.iter().copied().filter(is_of_numbers).collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let mut selection = Selection { arrays: None, array_fields: Vec::new(), ..selection.clone() };
        selection.exclude.extend(others(schema));
        let decoder = decoders.select(Arc::clone(schema), &selection).map_err(|error| match error {
            SelectionError::NothingLeft { type_name } => Unshapable::NoNumber { type_name },
            error => error.into(),
        })?;
        let digits = selection.digits;
        Ok(Some(Aggregates { decoder, wanted, digits, figures: Vec::new(), read: Vec::new() }))
    }

    /// Reads the numbers of the message in `cdr`. They count with the next [`add`](Self::add).
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] if the bytes do not fit the type.
    pub(super) fn read(&mut self, cdr: &[u8]) -> Result<(), DecodeError> {
        self.read.clear();
        self.decoder.read_values(cdr, |value| {
            self.read.extend(match value {
                Value::Signed(value) => Some(Value::Signed(value)),
                Value::Unsigned(value) => Some(Value::Unsigned(value)),
                Value::F32(value) => Some(Value::F32(value)),
                Value::F64(value) => Some(Value::F64(value)),
                // The selection has none of these.
                Value::Bool(_) | Value::Bytes(_) | Value::Length(_) => None,
            });
        })
    }

    /// What was read last counts.
    pub(super) fn add(&mut self) {
        self.figures.resize_with(self.read.len(), Figure::default);
        self.figures.iter_mut().zip(&self.read).for_each(|(figure, value)| figure.add(*value));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.figures.clear();
    }

    /// Writes `,"mean":{…},"min":{…},"max":{…}`, as far as they are wanted.
    ///
    /// # Errors
    /// [`Full`] if that does not fit into `out`.
    pub(super) fn write(&self, out: &mut JsonBuffer) -> Result<(), Full> {
        for wanted in &self.wanted {
            out.put(match wanted {
                Aggregate::Mean => br#","mean":"#,
                Aggregate::Min => br#","min":"#,
                Aggregate::Max => br#","max":"#,
                Aggregate::Last | Aggregate::Count => continue,
            })?;
            let mut figures = self.figures.iter();
            self.decoder.write_places(out, |out| {
                let Some(figure) = figures.next() else { return out.put(b"null") };
                match figure.of(*wanted) {
                    Some(value) => put_value(value, self.digits.filter(|_| figure.is_of_floats()), out),
                    None => out.put(b"null"),
                }
            })?;
        }
        Ok(())
    }
}

/// The figures of one number.
#[derive(Debug, Default)]
struct Figure {
    /// How many there were, without those that were NaN.
    count: u64,
    /// Of floating-point numbers.
    sum: f64,
    /// Of integers.
    exact: i128,
    min: Option<Value<'static>>,
    max: Option<Value<'static>>,
}

impl Figure {
    fn add(&mut self, value: Value<'static>) {
        match value {
            Value::F32(number) if number.is_nan() => return,
            Value::F64(number) if number.is_nan() => return,
            Value::F32(number) => self.sum += f64::from(number),
            Value::F64(number) => self.sum += number,
            Value::Signed(number) => self.exact += i128::from(number),
            Value::Unsigned(number) => self.exact += i128::from(number),
            Value::Bool(_) | Value::Bytes(_) | Value::Length(_) => return,
        }
        self.count += 1;
        if self.min.is_none_or(|min| is_less(value, min)) {
            self.min = Some(value);
        }
        if self.max.is_none_or(|max| is_less(max, value)) {
            self.max = Some(value);
        }
    }

    /// `None` if there was no number, or `wanted` is no figure of one.
    fn of(&self, wanted: Aggregate) -> Option<Value<'static>> {
        match wanted {
            Aggregate::Mean => self.mean(),
            Aggregate::Min => self.min,
            Aggregate::Max => self.max,
            Aggregate::Last | Aggregate::Count => None,
        }
    }

    /// Whether `digits` concerns it: the mean of integers is a double, and is not rounded either.
    fn is_of_floats(&self) -> bool {
        matches!(self.min, Some(Value::F32(_) | Value::F64(_)))
    }

    /// Of the width of the numbers; that of integers is a double.
    fn mean(&self) -> Option<Value<'static>> {
        let count = self.count as f64;
        match self.min? {
            Value::F32(_) => Some(Value::F32((self.sum / count) as f32)),
            Value::F64(_) => Some(Value::F64(self.sum / count)),
            _ => Some(Value::F64(self.exact as f64 / count)),
        }
    }
}

/// Whether the number `one` is less than `other`, which is of the same kind and not NaN.
fn is_less(one: Value<'_>, other: Value<'_>) -> bool {
    match (one, other) {
        (Value::Signed(one), Value::Signed(other)) => one < other,
        (Value::Unsigned(one), Value::Unsigned(other)) => one < other,
        (Value::F32(one), Value::F32(other)) => one < other,
        (Value::F64(one), Value::F64(other)) => one < other,
        _ => false,
    }
}

/// Paths of all fields of `schema` that hold no numbers of which there are always as many.
fn others(schema: &Schema) -> Vec<FieldPath> {
    let mut paths = Vec::new();
    collect_others(schema, "", &mut paths);
    // Names of a type's fields make paths.
    paths.iter().filter_map(|path| FieldPath::parse(path).ok()).collect()
}

fn collect_others(schema: &Schema, within: &str, paths: &mut Vec<String>) {
    const TIMES: [&str; 2] = ["builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration"];
    for field in &schema.fields {
        let path = format!("{within}{}", field.name);
        let is_array = match field.count {
            Count::One => false,
            Count::Array(_) => true,
            Count::Sequence { .. } => {
                paths.push(path);
                continue;
            }
        };
        match &field.kind {
            Kind::Message(nested) if nested.fields.is_empty() || TIMES.contains(&nested.name.as_str()) => {
                paths.push(path)
            }
            Kind::Message(nested) => {
                collect_others(nested, &format!("{path}{}.", if is_array { "[*]" } else { "" }), paths);
            }
            Kind::Bool | Kind::Byte | Kind::String { .. } | Kind::WString { .. } => paths.push(path),
            Kind::U8 if is_array => paths.push(path),
            Kind::U8 | Kind::I8 | Kind::U16 | Kind::I16 | Kind::U32 | Kind::I32 | Kind::U64 | Kind::I64 => {}
            Kind::F32 | Kind::F64 => {}
        }
    }
}

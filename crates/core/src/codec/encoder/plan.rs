//! A schema, prepared for encoding: the fields of each type with the defaults of its definition.

use std::collections::HashMap;
use std::sync::Arc;

use super::Encoder;
use super::error::NoEncoder;
use crate::codec::cdr_writer::CdrWriter;
use crate::codec::cursor::{Cursor, Endian};
use crate::codec::error::Stop;
use crate::codec::text;
use crate::codec::{Count, Kind, Schema};

/// One message type.
#[derive(Debug)]
pub(super) struct Plan {
    /// `package/msg/Name`.
    pub(super) name: String,
    /// In definition order.
    pub(super) fields: Vec<Field>,
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) item: Item,
    pub(super) count: Count,
    /// What it holds when the JSON text has no such field. Of messages that is what their own fields hold, and of a
    /// sequence of messages nothing: a definition cannot give it any.
    pub(super) default: Option<Default>,
}

/// Type of a field's values.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    String(Option<usize>),
    WideString(Option<usize>),
    Message(Arc<Plan>),
}

/// The default of a field that is no message, as CDR.
#[derive(Debug, Clone)]
pub(super) struct Default {
    /// The length that a sequence has in front.
    pub(super) length: Option<usize>,
    /// Its elements, for a start at a multiple of the [`Item::alignment`].
    pub(super) bytes: Box<[u8]>,
}

impl Item {
    /// Multiple of which a value starts at.
    pub(super) fn alignment(&self) -> usize {
        match self {
            Item::Bool | Item::U8 | Item::I8 | Item::Message(_) => 1,
            Item::U16 | Item::I16 => 2,
            Item::U32 | Item::I32 | Item::F32 | Item::String(_) | Item::WideString(_) => 4,
            Item::U64 | Item::I64 | Item::F64 => 8,
        }
    }
}

impl Plan {
    /// Prepares `schema`, which has a decoder. `defaults` are the default messages by the names of their types, as CDR.
    pub(super) fn new(schema: &Arc<Schema>, defaults: &HashMap<String, Vec<u8>>) -> Result<Arc<Self>, NoEncoder> {
        Planner { defaults, done: HashMap::new() }.plan(schema)
    }
}

/// Plans each type once, however often it is used.
struct Planner<'a> {
    defaults: &'a HashMap<String, Vec<u8>>,
    /// By the address of the schema.
    done: HashMap<*const Schema, Arc<Plan>>,
}

impl Planner<'_> {
    fn plan(&mut self, schema: &Arc<Schema>) -> Result<Arc<Plan>, NoEncoder> {
        if let Some(known) = self.done.get(&Arc::as_ptr(schema)) {
            return Ok(Arc::clone(known));
        }
        let mut fields = Vec::with_capacity(schema.fields.len());
        for field in &schema.fields {
            let item = self.item(&field.kind)?;
            fields.push(Field { name: field.name.clone(), item, count: field.count, default: None });
        }
        let default = self.defaults.get(&schema.name);
        let pass = |fields: &mut Vec<Field>| {
            let mut wire = default.map(|cdr| Cursor::open(cdr)).transpose()?;
            for field in fields {
                field.default = field.read_default(wire.as_mut()).map_err(|stop| stop.within(&field.name))?;
            }
            Ok(())
        };
        pass(&mut fields).map_err(|stop| match stop {
            Stop::Full => NoEncoder::TooLarge { name: schema.name.clone() },
            stop => NoEncoder::Default { name: schema.name.clone(), error: stop.into_error(Encoder::LARGEST) },
        })?;
        let plan = Arc::new(Plan { name: schema.name.clone(), fields });
        self.done.insert(Arc::as_ptr(schema), Arc::clone(&plan));
        Ok(plan)
    }

    fn item(&mut self, kind: &Kind) -> Result<Item, NoEncoder> {
        Ok(match kind {
            Kind::Bool => Item::Bool,
            Kind::Byte | Kind::U8 => Item::U8,
            Kind::I8 => Item::I8,
            Kind::U16 => Item::U16,
            Kind::I16 => Item::I16,
            Kind::U32 => Item::U32,
            Kind::I32 => Item::I32,
            Kind::U64 => Item::U64,
            Kind::I64 => Item::I64,
            Kind::F32 => Item::F32,
            Kind::F64 => Item::F64,
            Kind::String { bound } => Item::String(*bound),
            Kind::WString { bound } => Item::WideString(*bound),
            Kind::Message(nested) => Item::Message(self.plan(nested)?),
        })
    }
}

/// A default message, of which a part has been read.
type Wire<'a> = (Endian, Cursor<'a>);

impl Field {
    /// Takes the field from a default message; zeros and empty ones where there is no message. `None` of messages.
    fn read_default(&self, mut wire: Option<&mut Wire>) -> Result<Option<Default>, Stop> {
        let length = match (self.count, wire.as_mut()) {
            (Count::One, _) => 1,
            (Count::Array(length), _) => length,
            (Count::Sequence { .. }, Some((endian, cursor))) => {
                let announced = cursor.position();
                let length = cursor.count(*endian)?;
                cursor.room(length, 1, announced)?;
                length
            }
            (Count::Sequence { .. }, None) => 0,
        };
        if let Item::Message(plan) = &self.item {
            let Some(wire) = wire else { return Ok(None) };
            for index in 0..length {
                plan.pass_over(wire).map_err(|stop| self.within_element(index, stop))?;
            }
            return Ok(None);
        }
        let mut bytes = CdrWriter::new();
        match wire {
            Some((endian, cursor)) => {
                for index in 0..length {
                    self.item.copy(*endian, cursor, &mut bytes).map_err(|stop| self.within_element(index, stop))?;
                }
            }
            None => {
                // Numbers are as wide as they are aligned; an empty string is its length alone, or that and a NUL.
                let smallest = self.item.alignment();
                if length.saturating_mul(smallest) > Encoder::LARGEST {
                    return Err(Stop::Full);
                }
                for _ in 0..length {
                    match self.item {
                        Item::String(_) => bytes.write_text(b""),
                        _ => bytes.write_aligned(smallest, &[0; 8][..smallest]),
                    }
                }
            }
        }
        let length = matches!(self.count, Count::Sequence { .. }).then_some(length);
        Ok(Some(Default { length, bytes: bytes.body().into() }))
    }
}

impl Field {
    /// Says that it happened in the element at `index`, if there is more than one.
    fn within_element(&self, index: usize, stop: Stop) -> Stop {
        if self.count == Count::One { stop } else { stop.at(index) }
    }
}

impl Plan {
    /// Reads one message and keeps nothing of it.
    fn pass_over(&self, wire: &mut Wire) -> Result<(), Stop> {
        if self.fields.is_empty() {
            wire.1.bytes(1)?;
        }
        for field in &self.fields {
            field.read_default(Some(wire)).map_err(|stop| stop.within(&field.name))?;
        }
        Ok(())
    }
}

impl Item {
    /// Copies one value, which is no message.
    fn copy(&self, endian: Endian, cursor: &mut Cursor, out: &mut CdrWriter) -> Result<(), Stop> {
        fn little<const N: usize>(endian: Endian, mut bytes: [u8; N]) -> [u8; N] {
            if endian == Endian::Big {
                bytes.reverse();
            }
            bytes
        }
        match self {
            Item::String(bound) => out.write_text(text::take_string(cursor, endian, *bound)?),
            Item::WideString(_) => {
                let length = cursor.count(endian)?;
                out.write_length(length);
                cursor.values::<4>(length)?.iter().for_each(|unit| out.write_number(little(endian, *unit)));
            }
            _ => match self.alignment() {
                1 => out.write_number(cursor.value::<1>()?),
                2 => out.write_number(little(endian, cursor.value::<2>()?)),
                4 => out.write_number(little(endian, cursor.value::<4>()?)),
                _ => out.write_number(little(endian, cursor.value::<8>()?)),
            },
        }
        Ok(())
    }
}

//! A schema, prepared for decoding.
//!
//! Messages within messages are laid out flat, so that the JSON text between two values is one ready-made piece:
//! for a stamped header `{"header":{"stamp":{"sec":`, `,"nanosec":`, `},"frame_id":` and `}}`.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use super::error::SchemaError;
use super::json_buffer::JsonBuffer;
use super::schema::{Count, Field, Kind, Schema};

/// Steps up to which a nested message is laid out flat. A longer one is kept apart and shared, so that a plan does not
/// grow with the power of the nesting.
const FLAT_LIMIT: usize = 64;

/// What to read and write for one message type.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// JSON text after the last step.
    pub(super) tail: Box<[u8]>,
    /// Fewest bytes that such a message takes on the wire, never 0.
    pub(super) min_size: usize,
}

/// One value, or values of one field.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// JSON text in front of it.
    pub(super) lead: Box<[u8]>,
    /// The field's path from the message that the plan is for.
    pub(super) path: Box<str>,
    pub(super) count: Count,
    pub(super) item: Item,
}

/// What a step reads.
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
    /// The octet of a message without fields. Its text is in the leads.
    Nothing,
    Message(Arc<Plan>),
}

impl Item {
    /// Fewest bytes on the wire, never 0.
    pub(super) fn min_size(&self) -> usize {
        match self {
            Item::Bool | Item::U8 | Item::I8 | Item::Nothing => 1,
            Item::U16 | Item::I16 => 2,
            Item::U32 | Item::I32 | Item::F32 | Item::String(_) | Item::WideString(_) => 4,
            Item::U64 | Item::I64 | Item::F64 => 8,
            Item::Message(plan) => plan.min_size,
        }
    }
}

impl Step {
    fn min_size(&self) -> usize {
        match self.count {
            Count::One => self.item.min_size(),
            Count::Array(count) => count.saturating_mul(self.item.min_size()),
            Count::Sequence { .. } => 4,
        }
    }
}

impl Plan {
    /// Prepares `schema`.
    ///
    /// # Errors
    /// See [`SchemaError`].
    pub(super) fn new(schema: &Arc<Schema>) -> Result<Arc<Self>, SchemaError> {
        Ok(Planner::default().plan(schema, 1)?.0)
    }
}

/// Plans each type once, however often it is used.
#[derive(Default)]
struct Planner {
    /// By the address of the schema, with the depth of its nesting.
    done: HashMap<*const Schema, (Arc<Plan>, usize)>,
}

impl Planner {
    /// Returns the plan and how deep the type nests, itself included.
    fn plan(&mut self, schema: &Arc<Schema>, depth: usize) -> Result<(Arc<Plan>, usize), SchemaError> {
        let known = self.done.get(&Arc::as_ptr(schema)).cloned();
        let height = known.as_ref().map_or(1, |(_, height)| *height);
        if depth + height - 1 > SchemaError::MAX_DEPTH {
            return Err(SchemaError::TooDeep { name: schema.name.clone() });
        }
        if let Some(known) = known {
            return Ok(known);
        }
        let mut layout = Layout::default();
        let mut height = 1;
        for (index, field) in schema.fields.iter().enumerate() {
            if field.count == Count::Array(0) {
                return Err(SchemaError::EmptyArray { name: schema.name.clone(), field: field.name.clone() });
            }
            layout.key(if index == 0 { b'{' } else { b',' }, &field.name);
            let (item, below) = self.item(&field.kind, depth)?;
            height = height.max(below + 1);
            layout.field(field, item);
        }
        if schema.fields.is_empty() {
            layout.text.push(b'{');
            layout.step("", Count::One, Item::Nothing);
        }
        layout.text.push(b'}');
        let planned = (Arc::new(layout.finish()), height);
        self.done.insert(Arc::as_ptr(schema), planned.clone());
        Ok(planned)
    }

    /// Returns what to read for `kind`, a field's in a message `depth` deep, and how deep that nests by itself.
    fn item(&mut self, kind: &Kind, depth: usize) -> Result<(Item, usize), SchemaError> {
        let item = match kind {
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
            Kind::Message(nested) => {
                let (plan, height) = self.plan(nested, depth + 1)?;
                return Ok((Item::Message(plan), height));
            }
        };
        Ok((item, 0))
    }
}

/// A plan in the making.
#[derive(Default)]
struct Layout {
    steps: Vec<Step>,
    /// JSON text since the last step.
    text: Vec<u8>,
}

impl Layout {
    fn key(&mut self, before: u8, name: &str) {
        let mut key = JsonBuffer::new(usize::MAX);
        key.put_text(name).expect("the buffer has no limit");
        self.text.push(before);
        self.text.extend_from_slice(key.as_bytes());
        self.text.push(b':');
    }

    fn field(&mut self, field: &Field, item: Item) {
        let plan = match item {
            Item::Message(plan) if field.count == Count::One && plan.steps.len() <= FLAT_LIMIT => plan,
            item => return self.step(&field.name, field.count, item),
        };
        for step in &plan.steps {
            self.text.extend_from_slice(&step.lead);
            let dot = if step.path.is_empty() { "" } else { "." };
            self.step(&format!("{}{dot}{}", field.name, step.path), step.count, step.item.clone());
        }
        self.text.extend_from_slice(&plan.tail);
    }

    fn step(&mut self, path: &str, count: Count, item: Item) {
        self.steps.push(Step { lead: mem::take(&mut self.text).into(), path: path.into(), count, item });
    }

    fn finish(self) -> Plan {
        let min_size = self.steps.iter().fold(0usize, |sum, step| sum.saturating_add(step.min_size()));
        Plan { steps: self.steps, tail: self.text.into(), min_size }
    }
}

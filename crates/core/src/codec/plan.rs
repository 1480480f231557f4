//! A schema, prepared for decoding.
//!
//! Messages within messages are laid out flat, so that the JSON text between two values is one ready-made piece:
//! for a stamped header `{"header":{"stamp":{"sec":`, `,"nanosec":`, `},"frame_id":` and `}}`. What nobody wants has no text,
//! and what of it has a fixed size and stands side by side is passed over in one step.

use std::mem;
use std::sync::Arc;

use super::json_buffer::JsonBuffer;
use super::schema::{Count, Field};
use super::span::Span;
use crate::config::ArrayLimit;

/// Steps up to which a nested message is laid out flat. A longer one is kept apart and shared, so that a plan does not
/// grow with the power of the nesting.
pub(super) const FLAT_LIMIT: usize = 64;

/// What to read and write for one message type.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// JSON text after the last step.
    pub(super) tail: Box<[u8]>,
    /// Fewest bytes that such a message takes on the wire, never 0.
    pub(super) min_size: usize,
}

/// One value, or values of one field; or what is passed over.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// JSON text in front of it.
    pub(super) lead: Lead,
    /// The field's path from the message that the plan is for; of several fields that are passed over, the first one's.
    pub(super) path: Box<str>,
    pub(super) work: Work,
}

/// JSON text in front of a value.
#[derive(Debug, Clone, Default)]
pub(super) struct Lead {
    pub(super) text: Box<[u8]>,
    /// Where in the text the field's own part begins, which is left out with the field: its comma and its name.
    pub(super) own: usize,
    /// Whether the field before may be left out. Then the comma at the front is not written after an opening brace.
    pub(super) follows_optional: bool,
}

/// What a step does.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// Passes over values without writing anything.
    Skip(Skip),
    /// Reads and writes one value.
    One(Item),
    /// Reads and writes an array or sequence.
    Many(Box<Many>),
}

/// What is read.
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

/// An array or sequence that is written.
#[derive(Debug, Clone)]
pub(super) struct Many {
    pub(super) count: Count,
    pub(super) item: Item,
    /// How an element is passed over.
    pub(super) skip: Skip,
    /// What is wanted of the elements; all of all without it.
    pub(super) chosen: Option<Chosen>,
    /// What becomes of it when it is long.
    pub(super) limit: Option<ArrayLimit>,
}

/// Which elements are wanted, where not all are treated alike.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    /// Elements by their index, ascending, with what is written of them; `None` for nothing.
    pub(super) single: Vec<(usize, Option<Item>)>,
    /// Whether all others are written.
    pub(super) others: bool,
}

impl Chosen {
    /// How many elements are written of an array of `count`.
    pub(super) fn left(&self, count: usize) -> usize {
        let single = self.single.iter().take_while(|(index, _)| *index < count);
        let (mut written, mut passed) = (0, 0);
        single.for_each(|(_, item)| *if item.is_some() { &mut written } else { &mut passed } += 1);
        if self.others { count - passed } else { written }
    }

    /// The elements that are written of an array of `count`, ascending, with what is written of each; `other` where that is
    /// not said of the element alone. It takes as many rounds as there are such elements, however long the array is.
    pub(super) fn elements<'a>(&'a self, count: usize, other: &'a Item) -> impl Iterator<Item = (usize, &'a Item)> {
        let single = self.single.iter().take_while(move |(index, _)| *index < count);
        let mut from = 0;
        single.map(|(index, item)| (*index, item.as_ref())).chain([(count, None)]).flat_map(move |(next, item)| {
            let others = if self.others { from..next } else { next..next };
            from = next + 1;
            others.map(move |index| (index, other)).chain(item.map(|item| (next, item)))
        })
    }

    /// Whether the element at `index` is written.
    pub(super) fn has(&self, index: usize) -> bool {
        let single = self.single.binary_search_by_key(&index, |(index, _)| *index);
        single.map_or(self.others, |at| self.single[at].1.is_some())
    }
}

/// What is passed over.
#[derive(Debug, Clone)]
pub(super) enum Skip {
    /// A known number of bytes.
    Run(Span),
    /// A string of so many bytes for each that it counts.
    Text(usize),
    /// A sequence of elements of fixed size.
    Runs {
        bound: Option<usize>,
        element: Span,
    },
    /// An array or sequence of elements that differ in size.
    Each {
        count: Count,
        element: Box<Skip>,
    },
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

impl Skip {
    /// Fewest bytes on the wire, never 0.
    pub(super) fn min_size(&self) -> usize {
        match self {
            Skip::Run(run) => run.least,
            Skip::Text(_) | Skip::Runs { .. } => 4,
            Skip::Each { count, element } => count.min_size(element.min_size()),
            Skip::Message(plan) => plan.min_size,
        }
    }

    /// `count` of these in a field.
    pub(super) fn counted(self, count: Count) -> Self {
        match (self, count) {
            (skip, Count::One) => skip,
            (Skip::Run(run), Count::Array(count)) => Skip::Run(run.times(count)),
            (Skip::Run(element), Count::Sequence { bound }) => Skip::Runs { bound, element },
            (element, count) => Skip::Each { count, element: Box::new(element) },
        }
    }
}

impl Count {
    /// Fewest bytes of so many values of at least `size` bytes.
    fn min_size(self, size: usize) -> usize {
        match self {
            Count::One => size,
            Count::Array(count) => count.saturating_mul(size),
            Count::Sequence { .. } => 4,
        }
    }
}

impl Step {
    fn min_size(&self) -> usize {
        match &self.work {
            Work::Skip(skip) => skip.min_size(),
            Work::One(item) => item.min_size(),
            Work::Many(many) => many.count.min_size(many.skip.min_size()),
        }
    }

    /// Whether it is known only from the message whether it writes anything.
    fn is_optional(&self) -> bool {
        use crate::config::ArrayOver::Omit;
        matches!(&self.work, Work::Many(many) if many.limit.is_some_and(|limit| limit.over == Omit))
    }
}

/// A plan in the making.
#[derive(Default)]
pub(super) struct Layout {
    steps: Vec<Step>,
    /// JSON text since the last step that writes.
    text: Vec<u8>,
    /// Where in it the part of the field begins that comes next.
    own: usize,
    /// Whether the last step that writes may leave its field out.
    follows_optional: bool,
    /// Whether an object has been opened and holds a field.
    has_fields: bool,
}

impl Layout {
    /// Names the field that is written next.
    pub(super) fn key(&mut self, name: &str) {
        if !self.has_fields {
            self.text.push(b'{');
        }
        self.own = self.text.len();
        if self.has_fields {
            self.text.push(b',');
        }
        self.has_fields = true;
        let mut key = JsonBuffer::new(usize::MAX);
        key.put_text(name).expect("the buffer has no limit");
        self.text.extend_from_slice(key.as_bytes());
        self.text.push(b':');
    }

    /// The one octet of a message without fields, which is written as an empty object if it `is_wanted`.
    pub(super) fn nothing(&mut self, is_wanted: bool) {
        if is_wanted {
            self.has_fields = true;
            self.text.push(b'{');
            self.step("", Work::One(Item::Nothing));
        } else {
            self.skip("", Skip::Run(Span::value(1)));
        }
    }

    /// Writes a message that is a field's only value.
    pub(super) fn message(&mut self, field: &Field, plan: &Arc<Plan>) {
        if plan.steps.len() > FLAT_LIMIT {
            return self.step(&field.name, Work::One(Item::Message(Arc::clone(plan))));
        }
        for step in &plan.steps {
            self.own = self.text.len() + step.lead.own;
            self.text.extend_from_slice(&step.lead.text);
            self.step(&below(&field.name, &step.path), step.work.clone());
        }
        self.text.extend_from_slice(&plan.tail);
        // Whatever stands before the tail, it is closed by it.
        self.follows_optional = false;
    }

    /// Passes over a field.
    pub(super) fn skip_field(&mut self, field: &Field, element: Skip) {
        match element.counted(field.count) {
            Skip::Message(plan) if plan.steps.len() <= FLAT_LIMIT => {
                for step in &plan.steps {
                    self.step(&below(&field.name, &step.path), step.work.clone());
                }
            }
            skip => self.skip(&field.name, skip),
        }
    }

    fn skip(&mut self, path: &str, skip: Skip) {
        self.step(path, Work::Skip(skip));
    }

    pub(super) fn step(&mut self, path: &str, work: Work) {
        let lead = match &work {
            Work::Skip(skip) => {
                // Two runs side by side are one.
                let last = self.steps.last_mut().map(|last| &mut last.work);
                if let (Skip::Run(run), Some(Work::Skip(Skip::Run(last)))) = (skip, last) {
                    *last = last.then(run);
                    return;
                }
                Lead::default()
            }
            Work::One(_) | Work::Many(_) => Lead {
                text: mem::take(&mut self.text).into(),
                own: mem::take(&mut self.own),
                follows_optional: self.follows_optional,
            },
        };
        let step = Step { lead, path: path.into(), work };
        if !matches!(step.work, Work::Skip(_)) {
            self.follows_optional = step.is_optional();
        }
        self.steps.push(step);
    }

    /// The plan, and whether anything is written.
    pub(super) fn finish(mut self) -> (Plan, bool) {
        if self.has_fields {
            self.text.push(b'}');
        }
        let min_size = self.steps.iter().fold(0usize, |sum, step| sum.saturating_add(step.min_size()));
        (Plan { steps: self.steps, tail: self.text.into(), min_size }, self.has_fields)
    }
}

/// The path of what is at `path` in `field`.
fn below(field: &str, path: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{field}{dot}{path}")
}

//! From a schema and a selection to a [`Plan`].
//!
//! The planner goes down the schema with all paths of the selection at a time. Where it stands, a path is either lost, or so
//! many parts of it are met. Fields of one type that the same paths have reached in the same way share a plan.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::SchemaError;
use super::plan::{Chosen, Item, Layout, Many, Plan, Skip, Work};
use super::schema::{Count, Field, Kind, Schema};
use super::selection::Selection;
use super::span::Span;
use crate::config::{ArrayLimit, FieldPath, PathPart};

impl Plan {
    /// Prepares `schema`, of which `selection` is wanted. `None` if that is nothing.
    ///
    /// # Errors
    /// See [`SchemaError`].
    pub(super) fn new(schema: &Arc<Schema>, selection: &Selection) -> Result<Option<Arc<Self>>, SchemaError> {
        let mut planner = Planner { paths: Paths::of(selection), done: HashMap::new(), skipped: HashMap::new() };
        let start = planner.paths.start();
        let planned = planner.plan(schema, &start, 1)?;
        Ok(planned.writes.then_some(planned.plan))
    }
}

/// Plans each type once for each way in which the paths have reached it.
struct Planner<'a> {
    paths: Paths<'a>,
    /// By the address of the schema.
    done: HashMap<(*const Schema, Reached), Planned>,
    /// What passes over messages of a type.
    skipped: HashMap<*const Schema, (Skip, usize)>,
}

#[derive(Clone)]
struct Planned {
    plan: Arc<Plan>,
    /// How deep the type nests, itself included.
    height: usize,
    /// Whether anything of it is wanted.
    writes: bool,
}

/// The paths of a selection, and what is done with what they lead to.
struct Paths<'a> {
    all: Vec<(&'a FieldPath, Meaning)>,
    /// Of arrays that no path leads to.
    limit: Option<ArrayLimit>,
    /// Whether fields travel that no path leads to.
    keeps: bool,
}

#[derive(Clone, Copy)]
enum Meaning {
    Keep,
    Exclude,
    Limit(ArrayLimit),
}

/// How far the paths are met at some place.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Reached {
    /// Whether what is there is wanted.
    kept: bool,
    /// The paths that lead further down, by their index, with the number of parts that are met.
    open: Vec<(usize, usize)>,
}

/// What the paths say of a place.
struct Verdict {
    excluded: bool,
    limit: Option<ArrayLimit>,
    reached: Reached,
}

impl<'a> Paths<'a> {
    fn of(selection: &'a Selection) -> Self {
        let keep = selection.fields.iter().map(|path| (path, Meaning::Keep));
        let exclude = selection.exclude.iter().map(|path| (path, Meaning::Exclude));
        let limits = selection.array_fields.iter().map(|(path, limit)| (path, Meaning::Limit(*limit)));
        Paths {
            all: keep.chain(exclude).chain(limits).collect(),
            limit: selection.arrays,
            keeps: selection.fields.is_empty(),
        }
    }

    /// At the message itself.
    fn start(&self) -> Reached {
        Reached { kept: self.keeps, open: (0..self.all.len()).map(|path| (path, 0)).collect() }
    }

    /// One part further down, by the paths whose next part `meets` what is there.
    fn follow(&self, from: &Reached, meets: impl Fn(&PathPart) -> bool) -> Verdict {
        let reached = Reached { kept: from.kept, open: Vec::new() };
        let mut verdict = Verdict { excluded: false, limit: None, reached };
        for &(path, met) in &from.open {
            let (parts, meaning) = (self.all[path].0.parts(), self.all[path].1);
            if !meets(&parts[met]) {
                continue;
            }
            match meaning {
                _ if met + 1 < parts.len() => verdict.reached.open.push((path, met + 1)),
                Meaning::Keep => verdict.reached.kept = true,
                Meaning::Exclude => verdict.excluded = true,
                Meaning::Limit(limit) => verdict.limit = Some(limit),
            }
        }
        verdict
    }
}

impl Planner<'_> {
    fn plan(&mut self, schema: &Arc<Schema>, reached: &Reached, depth: usize) -> Result<Planned, SchemaError> {
        let place = (Arc::as_ptr(schema), reached.clone());
        let known = self.done.get(&place).cloned();
        check_depth(schema, depth, known.as_ref().map_or(1, |known| known.height))?;
        if let Some(known) = known {
            return Ok(known);
        }
        let mut layout = Layout::default();
        let mut height = 1;
        for field in &schema.fields {
            let below = self.field(schema, field, reached, depth, &mut layout)?;
            height = height.max(below + 1);
        }
        if schema.fields.is_empty() {
            layout.nothing(reached.kept);
        }
        let (plan, writes) = layout.finish();
        let planned = Planned { plan: Arc::new(plan), height, writes };
        self.done.insert(place, planned.clone());
        Ok(planned)
    }

    /// Lays out `field` of a message `depth` deep. Returns how deep it nests by itself.
    fn field(
        &mut self,
        schema: &Schema,
        field: &Field,
        reached: &Reached,
        depth: usize,
        layout: &mut Layout,
    ) -> Result<usize, SchemaError> {
        check_array(schema, field)?;
        let (skip, height) = self.skip(&field.kind, depth)?;
        let verdict = self.paths.follow(reached, |part| match part {
            PathPart::Field(name) => *name == field.name,
            PathPart::AnyField => true,
            PathPart::Element(_) | PathPart::AnyElement => false,
        });
        if verdict.excluded {
            layout.skip_field(field, skip);
            return Ok(height);
        }
        if field.count == Count::One {
            match self.item(&field.kind, &verdict.reached, depth)? {
                None => layout.skip_field(field, skip),
                Some(Item::Message(plan)) => {
                    layout.key(&field.name);
                    layout.message(field, &plan);
                }
                Some(item) => {
                    layout.key(&field.name);
                    layout.step(&field.name, Work::One(item));
                }
            }
            return Ok(height);
        }
        match self.elements(field, &verdict.reached, depth)? {
            None => layout.skip_field(field, skip),
            Some((item, chosen)) => {
                let limit = verdict.limit.or(self.paths.limit);
                layout.key(&field.name);
                let many = Many { count: field.count, item, skip, chosen, limit };
                layout.step(&field.name, Work::Many(Box::new(many)));
            }
        }
        Ok(height)
    }

    /// What is written of the elements of the array `field`; `None` if that is nothing, whatever the message.
    fn elements(
        &mut self,
        field: &Field,
        reached: &Reached,
        depth: usize,
    ) -> Result<Option<(Item, Option<Chosen>)>, SchemaError> {
        let mut named: Vec<usize> = Vec::new();
        for &(path, met) in &reached.open {
            if let PathPart::Element(index) = self.paths.all[path].0.parts()[met] {
                named.push(index);
            }
        }
        named.sort_unstable();
        named.dedup();
        let others = self.element(field, reached, depth, None)?;
        let mut single = Vec::with_capacity(named.len());
        for index in named {
            single.push((index, self.element(field, reached, depth, Some(index))?));
        }
        let written = single.iter().find_map(|(_, item)| item.as_ref());
        Ok(match others.as_ref().or(written).cloned() {
            None => None,
            Some(item) if single.is_empty() => Some((item, None)),
            Some(item) => Some((item, Some(Chosen { single, others: others.is_some() }))),
        })
    }

    /// What is written of the element at `index`, or of each element that no path names.
    fn element(
        &mut self,
        field: &Field,
        reached: &Reached,
        depth: usize,
        index: Option<usize>,
    ) -> Result<Option<Item>, SchemaError> {
        let verdict = self.paths.follow(reached, |part| match part {
            PathPart::Element(named) => Some(*named) == index,
            PathPart::AnyElement => true,
            PathPart::Field(_) | PathPart::AnyField => false,
        });
        if verdict.excluded { Ok(None) } else { self.item(&field.kind, &verdict.reached, depth) }
    }

    /// What is written of a value of `kind` in a message `depth` deep.
    fn item(&mut self, kind: &Kind, reached: &Reached, depth: usize) -> Result<Option<Item>, SchemaError> {
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
                let planned = self.plan(nested, reached, depth + 1)?;
                return Ok(planned.writes.then_some(Item::Message(planned.plan)));
            }
        };
        Ok(reached.kept.then_some(item))
    }

    /// What passes over a value of `kind` in a message `depth` deep, and how deep that nests by itself.
    fn skip(&mut self, kind: &Kind, depth: usize) -> Result<(Skip, usize), SchemaError> {
        let run = |size| Ok((Skip::Run(Span::value(size)), 0));
        match kind {
            Kind::Bool | Kind::Byte | Kind::U8 | Kind::I8 => run(1),
            Kind::U16 | Kind::I16 => run(2),
            Kind::U32 | Kind::I32 | Kind::F32 => run(4),
            Kind::U64 | Kind::I64 | Kind::F64 => run(8),
            Kind::String { .. } => Ok((Skip::Text(1), 0)),
            Kind::WString { .. } => Ok((Skip::Text(4), 0)),
            Kind::Message(nested) => self.skip_message(nested, depth + 1),
        }
    }

    fn skip_message(&mut self, schema: &Arc<Schema>, depth: usize) -> Result<(Skip, usize), SchemaError> {
        let known = self.skipped.get(&Arc::as_ptr(schema)).cloned();
        check_depth(schema, depth, known.as_ref().map_or(1, |(_, height)| *height))?;
        if let Some(known) = known {
            return Ok(known);
        }
        let mut layout = Layout::default();
        let mut height = 1;
        for field in &schema.fields {
            check_array(schema, field)?;
            let (skip, below) = self.skip(&field.kind, depth)?;
            height = height.max(below + 1);
            layout.skip_field(field, skip);
        }
        if schema.fields.is_empty() {
            layout.nothing(false);
        }
        let (plan, _) = layout.finish();
        let skip = match plan.steps.as_slice() {
            [step] if let Work::Skip(Skip::Run(run)) = &step.work => Skip::Run(*run),
            _ => Skip::Message(Arc::new(plan)),
        };
        self.skipped.insert(Arc::as_ptr(schema), (skip.clone(), height));
        Ok((skip, height))
    }
}

/// Whether a message of `schema` can stand `depth` deep, which nests `height` deep, itself included.
fn check_depth(schema: &Schema, depth: usize, height: usize) -> Result<(), SchemaError> {
    if depth + height - 1 > SchemaError::MAX_DEPTH {
        return Err(SchemaError::TooDeep { name: schema.name.clone() });
    }
    Ok(())
}

fn check_array(schema: &Schema, field: &Field) -> Result<(), SchemaError> {
    if field.count == Count::Array(0) {
        return Err(SchemaError::EmptyArray { name: schema.name.clone(), field: field.name.clone() });
    }
    Ok(())
}

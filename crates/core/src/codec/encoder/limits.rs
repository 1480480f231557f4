//! What numbers of a message have to keep to.

use super::error::{EncodeFault, NoEncoder};
use super::plan::{Item, Plan};
use crate::codec::Count;
use crate::config::{FieldPath, PathPart};

/// A limit of what stands at a path: of a number, or of each number in an array or sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    pub path: FieldPath,
    /// The least value that is allowed.
    pub lowest: f64,
    /// The greatest value that is allowed.
    pub highest: f64,
}

/// The limits of one place of a message and of what is in it.
///
/// A field of several values has one node for all of them, and others for those that a path names by their index.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    range: Option<Range>,
    /// Of a message, by the index of the field.
    fields: Vec<(usize, Node)>,
    /// Of an array or sequence, by the index of the element. They hold the limits of all elements too.
    elements: Vec<(usize, Node)>,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    lowest: f64,
    highest: f64,
}

impl Node {
    /// The limits of messages whose type is `message`.
    pub(super) fn new(message: &Item, limits: &[Limit]) -> Result<Self, NoEncoder> {
        let mut node = Node::default();
        for Limit { path, lowest, highest } in limits {
            let mut search = Search { range: Range { lowest: *lowest, highest: *highest }, why: None };
            let is_range = lowest <= highest;
            if !is_range {
                search.why = Some((0, format!("nothing is from {lowest} to {highest}")));
            }
            if !is_range || !node.insert(message, Count::One, path.parts(), &mut search) {
                let why = search.why.map(|(_, why)| why).unwrap_or_default();
                return Err(NoEncoder::Limit { path: path.to_string(), why });
            }
        }
        node.settle();
        Ok(node)
    }

    /// Those of a field of the message.
    pub(super) fn field(&self, index: usize) -> Option<&Node> {
        self.fields.iter().find_map(|(at, node)| (*at == index).then_some(node))
    }

    /// Those of an element of the array or sequence.
    pub(super) fn element(&self, index: usize) -> &Node {
        self.elements.iter().find_map(|(at, node)| (*at == index).then_some(node)).unwrap_or(self)
    }

    /// That the number here keeps to them. NaN keeps to none.
    pub(super) fn check(&self, value: f64) -> Result<(), EncodeFault> {
        match self.range {
            Some(Range { lowest, highest }) if !(lowest..=highest).contains(&value) => {
                Err(EncodeFault::OutOfLimits { lowest: lowest.to_string(), highest: highest.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Adds a range to all numbers that `parts` lead to from here. Returns whether there is one.
    fn insert(&mut self, item: &Item, count: Count, parts: &[PathPart], search: &mut Search) -> bool {
        let Some((part, rest)) = parts.split_first() else {
            return match item {
                Item::Bool | Item::String(_) | Item::WideString(_) | Item::Message(_) => {
                    search.ends(parts, || "it leads to no number".into())
                }
                Item::F32 => {
                    // What a field of this width can hold of a limit: 0.3 is within a limit of 0.3.
                    let Range { lowest, highest } = search.range;
                    self.narrow(Range { lowest: f64::from(lowest as f32), highest: f64::from(highest as f32) });
                    true
                }
                _ => {
                    self.narrow(search.range);
                    true
                }
            };
        };
        match (part, count, item) {
            (PathPart::Element(_) | PathPart::AnyElement, Count::One, _) => {
                search.ends(parts, || "there is no array or sequence where it has an index".into())
            }
            (PathPart::Element(index), Count::Array(length), _) if *index >= length => {
                search.ends(parts, || format!("the array has {length} elements, from 0 on"))
            }
            (PathPart::Element(index), ..) => {
                insert_at(&mut self.elements, *index, |node| node.insert(item, Count::One, rest, search))
            }
            (PathPart::AnyElement, ..) => self.insert(item, Count::One, rest, search),
            (PathPart::Field(_) | PathPart::AnyField, Count::One, Item::Message(plan)) => {
                self.insert_fields(plan, part, rest, search)
            }
            (_, Count::One, _) => search.ends(parts, || "it goes on below what has no fields".into()),
            _ => search.ends(parts, || "it goes on below an array or sequence, which needs `[*]` or an index".into()),
        }
    }

    fn insert_fields(&mut self, plan: &Plan, part: &PathPart, rest: &[PathPart], search: &mut Search) -> bool {
        let mut is_met = false;
        for (index, field) in plan.fields.iter().enumerate() {
            if !matches!(part, PathPart::Field(name) if *name != field.name) {
                is_met |=
                    insert_at(&mut self.fields, index, |node| node.insert(&field.item, field.count, rest, search));
            }
        }
        if let PathPart::Field(name) = part
            && !plan.fields.iter().any(|field| field.name == *name)
        {
            let names: Vec<_> = plan.fields.iter().map(|field| field.name.as_str()).collect();
            search.ends(rest, || format!("{} has no field {name}, but {}", plan.name, names.join(", ")));
        }
        is_met
    }

    fn narrow(&mut self, to: Range) {
        self.range =
            Some(self.range.map_or(to, |range| Range {
                lowest: range.lowest.max(to.lowest),
                highest: range.highest.min(to.highest),
            }));
    }

    /// Gives the limits of all elements to those that have some of their own.
    fn settle(&mut self) {
        let mut of_all = self.clone();
        of_all.elements.clear();
        for (_, node) in &mut self.elements {
            node.absorb(&of_all);
        }
        self.elements.iter_mut().chain(&mut self.fields).for_each(|(_, node)| node.settle());
    }

    fn absorb(&mut self, other: &Node) {
        if let Some(range) = other.range {
            self.narrow(range);
        }
        for (mine, others) in [(&mut self.fields, &other.fields), (&mut self.elements, &other.elements)] {
            for (index, node) in others {
                insert_at(mine, *index, |known| {
                    known.absorb(node);
                    true
                });
            }
        }
    }
}

/// Has `insert` add to the node at `index`; a new one is kept if it did.
fn insert_at(nodes: &mut Vec<(usize, Node)>, index: usize, insert: impl FnOnce(&mut Node) -> bool) -> bool {
    if let Some((_, node)) = nodes.iter_mut().find(|(at, _)| *at == index) {
        return insert(node);
    }
    let mut node = Node::default();
    let has_added = insert(&mut node);
    if has_added {
        nodes.push((index, node));
    }
    has_added
}

/// The way of one path down a type.
struct Search {
    range: Range,
    /// With how many parts left it went no further, and why: the least of them.
    why: Option<(usize, String)>,
}

impl Search {
    /// The path goes no further. Always false, as nothing is met.
    fn ends(&mut self, left: &[PathPart], why: impl FnOnce() -> String) -> bool {
        if self.why.as_ref().is_none_or(|(least, _)| left.len() < *least) {
            self.why = Some((left.len(), why()));
        }
        false
    }
}

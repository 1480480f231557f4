//! Selections of a message type, made by chance, whose paths lead somewhere.

use std::sync::Arc;

use iot_bridge_core::codec::{Count, Field, Kind, Schema, Selection};
use iot_bridge_core::config::{ArrayLimit, ArrayOver, FieldPath};

/// A selection of what `schema` has. `choose` returns a number below its argument.
pub fn selection(schema: &Arc<Schema>, choose: &mut dyn FnMut(usize) -> usize) -> Selection {
    let mut selection = Selection::default();
    for _ in 0..choose(4) {
        selection.fields.extend(path(schema, choose).map(|(path, _)| path));
    }
    for _ in 0..choose(3) {
        selection.exclude.extend(path(schema, choose).map(|(path, _)| path));
    }
    selection.arrays = (choose(3) > 0).then(|| limit(choose));
    for _ in 0..choose(4) {
        if let Some((path, true)) = path(schema, choose) {
            selection.array_fields.push((path, limit(choose)));
        }
    }
    selection
}

fn limit(choose: &mut dyn FnMut(usize) -> usize) -> ArrayLimit {
    let over = [ArrayOver::Truncate, ArrayOver::Omit, ArrayOver::Summary, ArrayOver::Omit, ArrayOver::Drop];
    ArrayLimit { max: choose(5) as u32, over: over[choose(over.len())] }
}

/// A path, and whether it ends at an array or sequence.
fn path(schema: &Arc<Schema>, choose: &mut dyn FnMut(usize) -> usize) -> Option<(FieldPath, bool)> {
    let mut text = String::new();
    let mut schema = schema;
    loop {
        if schema.fields.is_empty() {
            // Only the message itself may be without fields.
            return None;
        }
        let Field { name, kind, count } = &schema.fields[choose(schema.fields.len())];
        text.push_str(if choose(4) == 0 { "*" } else { name });
        let mut is_array = *count != Count::One;
        let nested = match kind {
            Kind::Message(nested) if !nested.fields.is_empty() && choose(4) > 0 => Some(nested),
            _ => None,
        };
        if is_array && (nested.is_some() || choose(3) == 0) {
            is_array = false;
            let elements = match count {
                Count::Array(count) | Count::Sequence { bound: Some(count) } => *count,
                _ => 7,
            };
            match choose(elements.saturating_add(2).min(9)) {
                index if index < elements => text.push_str(&format!("[{index}]")),
                _ => text.push_str("[*]"),
            }
        }
        match nested {
            Some(nested) => schema = nested,
            None => return Some((FieldPath::parse(&text).expect("a path was written"), is_array)),
        }
        text.push('.');
    }
}

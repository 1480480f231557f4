//! Random message types, and random messages of them.

use std::sync::Arc;

use iot_bridge_core::codec::{Count, Field, Kind, Schema};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::codec::encode::Value;

/// A message type with a message of it.
pub fn message() -> impl Strategy<Value = (Arc<Schema>, Vec<Value>)> {
    schema(3).prop_flat_map(|schema| {
        let values = values(&schema);
        (Just(schema), values)
    })
}

fn schema(depth: u32) -> BoxedStrategy<Arc<Schema>> {
    vec((kind(depth), count()), 0..6)
        .prop_map(|fields| {
            let fields = fields.into_iter().enumerate();
            let fields = fields.map(|(index, (kind, count))| Field { name: format!("f{index}"), kind, count });
            Arc::new(Schema { name: "test/msg/Random".into(), fields: fields.collect() })
        })
        .boxed()
}

fn kind(depth: u32) -> BoxedStrategy<Kind> {
    let plain = prop_oneof![
        Just(Kind::Bool),
        Just(Kind::Byte),
        Just(Kind::U8),
        Just(Kind::I8),
        Just(Kind::U16),
        Just(Kind::I16),
        Just(Kind::U32),
        Just(Kind::I32),
        Just(Kind::U64),
        Just(Kind::I64),
        Just(Kind::F32),
        Just(Kind::F64),
        option::of(0..6usize).prop_map(|bound| Kind::String { bound }),
        option::of(0..6usize).prop_map(|bound| Kind::WString { bound }),
    ];
    if depth == 0 {
        return plain.boxed();
    }
    prop_oneof![3 => plain, 1 => schema(depth - 1).prop_map(Kind::Message)].boxed()
}

fn count() -> impl Strategy<Value = Count> {
    prop_oneof![
        2 => Just(Count::One),
        1 => (1..5usize).prop_map(Count::Array),
        1 => option::of(0..5usize).prop_map(|bound| Count::Sequence { bound }),
    ]
}

fn values(schema: &Schema) -> BoxedStrategy<Vec<Value>> {
    schema
        .fields
        .iter()
        .map(|field| {
            let one = value(&field.kind);
            match field.count {
                Count::One => one,
                Count::Array(length) => vec(one, length).prop_map(Value::List).boxed(),
                Count::Sequence { bound } => vec(one, 0..=bound.unwrap_or(5)).prop_map(Value::List).boxed(),
            }
        })
        .collect::<Vec<_>>()
        .boxed()
}

fn value(kind: &Kind) -> BoxedStrategy<Value> {
    match kind {
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::Byte | Kind::U8 => any::<u8>().prop_map(|value| Value::Unsigned(value.into())).boxed(),
        Kind::U16 => any::<u16>().prop_map(|value| Value::Unsigned(value.into())).boxed(),
        Kind::U32 => any::<u32>().prop_map(|value| Value::Unsigned(value.into())).boxed(),
        Kind::U64 => any::<u64>().prop_map(Value::Unsigned).boxed(),
        Kind::I8 => any::<i8>().prop_map(|value| Value::Signed(value.into())).boxed(),
        Kind::I16 => any::<i16>().prop_map(|value| Value::Signed(value.into())).boxed(),
        Kind::I32 => any::<i32>().prop_map(|value| Value::Signed(value.into())).boxed(),
        Kind::I64 => any::<i64>().prop_map(Value::Signed).boxed(),
        Kind::F32 => any::<u32>().prop_map(Value::F32).boxed(),
        Kind::F64 => any::<u64>().prop_map(Value::F64).boxed(),
        Kind::String { bound } => prop_oneof![
            vec(any::<u8>(), 0..=bound.unwrap_or(12)).prop_map(Value::Text),
            vec(any::<char>(), 0..=bound.unwrap_or(12))
                .prop_map(|text| Value::Text(text.into_iter().collect::<String>().into_bytes())),
        ]
        .boxed(),
        Kind::WString { bound } => vec(any::<u16>(), 0..=bound.unwrap_or(12)).prop_map(Value::Wide).boxed(),
        Kind::Message(schema) => values(schema).prop_map(Value::Message).boxed(),
    }
}

//! Any bytes at all: the first ones make up a message type, the rest is to be decoded as it, or encoded.
//!
//! `fuzz/fuzz_targets/decode.rs` and `encode.rs` feed the same functions, led by coverage.

#[path = "paths.rs"]
pub mod paths;

use std::collections::HashMap;
use std::sync::Arc;

use iot_bridge_core::codec::{
    Count, DecodeError, Decoder, EncodeError, Encoder, Field, JsonBuffer, Kind, Schema, SelectionError, string_data,
};

/// Decodes `data`, whole and in part, and checks that, whatever it holds, the answer is JSON within the limit or an error
/// within the bytes.
pub fn decode(data: &[u8]) {
    let mut recipe = Recipe(data);
    let limit = usize::from(recipe.byte()) * 64;
    let schema = schema(&mut recipe, 4);
    let cdr = recipe.0;

    let _ = string_data(cdr);
    let decoder = Decoder::new(Arc::clone(&schema)).expect("the recipe makes no type without a decoder");
    let whole = run(&decoder, cdr, limit);
    assert!(!matches!(whole, Err(DecodeError::TooLong(_))), "nothing is too long where nothing is said of it");

    // All bytes decide what is selected, so that one more changes it.
    let mut state = data
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut choose = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    let mut selection = paths::selection(&schema, &mut choose);
    selection.digits = (choose(2) == 0).then(|| choose(17) as u8 + 1);
    match Decoder::select(schema, &selection) {
        Ok(decoder) => {
            let part = run(&decoder, cdr, limit);
            assert!(whole.is_err() || !matches!(part, Err(DecodeError::Malformed(_))), "what is whole has its parts");
        }
        Err(error) => assert!(matches!(error, SelectionError::NothingLeft { .. }), "{error}"),
    }
}

fn run(decoder: &Decoder, cdr: &[u8], limit: usize) -> Result<(), DecodeError> {
    let mut out = JsonBuffer::new(limit);
    let result = decoder.write_json(cdr, &mut out);
    assert!(out.as_bytes().len() <= limit);
    match &result {
        Ok(()) => {
            serde_json::from_slice::<serde::de::IgnoredAny>(out.as_bytes()).expect("the text is JSON");
            str::from_utf8(out.as_bytes()).expect("the text is UTF-8");
        }
        Err(DecodeError::TooLarge { limit: named }) => assert_eq!(*named, limit),
        Err(DecodeError::Malformed(malformed)) => assert!(malformed.offset <= cdr.len()),
        Err(DecodeError::TooLong(too_long)) => assert!(too_long.count > too_long.max),
    }
    result
}

/// Encodes `data` and checks that, whatever it holds, the answer is an error of bounded length, or a message that becomes a text
/// which comes back as the same message.
pub fn encode(data: &[u8]) {
    let mut recipe = Recipe(data);
    let schema = schema(&mut recipe, 4);
    let json = recipe.0;

    let Ok(encoder) = Encoder::new(&schema, &HashMap::new(), &[]) else { panic!("the recipe makes no such type") };
    let mut cdr = Vec::new();
    match encoder.encode(json, &mut cdr) {
        Ok(()) => {
            serde_json::from_slice::<serde::de::IgnoredAny>(json).expect("only JSON is taken");
            assert!(cdr.len() <= Encoder::LARGEST + 4096);
            let mut text = JsonBuffer::new(usize::MAX);
            Decoder::new(schema).expect("it has an encoder").write_json(&cdr, &mut text).expect("it is a message");
            let mut again = Vec::new();
            encoder.encode(text.as_bytes(), &mut again).expect("the decoder's text is taken");
            assert_eq!(again, cdr);
        }
        Err(error) => {
            assert!(cdr.is_empty());
            let longest = 10 * EncodeError::LONGEST_NAME + 300;
            let shown = error.to_string();
            assert!(shown.len() <= longest && !shown.contains(char::is_control), "{shown}");
        }
    }
}

/// Bytes that decide; zeros when they have run out.
pub struct Recipe<'a>(pub &'a [u8]);

impl Recipe<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn bound(&mut self) -> Option<usize> {
        let byte = self.byte();
        (byte & 1 == 1).then_some(usize::from(byte >> 1))
    }
}

pub fn schema(recipe: &mut Recipe, depth: usize) -> Arc<Schema> {
    let fields = (0..recipe.byte() % 5)
        .map(|index| Field { name: format!("f{index}"), kind: kind(recipe, depth), count: count(recipe) })
        .collect();
    Arc::new(Schema { name: "test/msg/Hostile".into(), fields })
}

fn kind(recipe: &mut Recipe, depth: usize) -> Kind {
    match recipe.byte() % 15 {
        0 => Kind::Bool,
        1 => Kind::Byte,
        2 => Kind::U8,
        3 => Kind::I8,
        4 => Kind::U16,
        5 => Kind::I16,
        6 => Kind::U32,
        7 => Kind::I32,
        8 => Kind::U64,
        9 => Kind::I64,
        10 => Kind::F32,
        11 => Kind::F64,
        12 => Kind::String { bound: recipe.bound() },
        13 => Kind::WString { bound: recipe.bound() },
        _ if depth == 0 => Kind::F64,
        _ => Kind::Message(schema(recipe, depth - 1)),
    }
}

fn count(recipe: &mut Recipe) -> Count {
    match recipe.byte() % 4 {
        0 | 1 => Count::One,
        2 => Count::Array(1 + usize::from(recipe.byte())),
        _ => Count::Sequence { bound: recipe.bound() },
    }
}

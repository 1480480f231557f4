//! Messages written by hand, byte for byte.

use std::sync::Arc;

use super::*;

mod selection;

pub(super) fn field(name: &str, kind: Kind) -> Field {
    Field { name: name.into(), kind, count: Count::One }
}

pub(super) fn array(name: &str, kind: Kind, length: usize) -> Field {
    Field { name: name.into(), kind, count: Count::Array(length) }
}

pub(super) fn sequence(name: &str, kind: Kind, bound: Option<usize>) -> Field {
    Field { name: name.into(), kind, count: Count::Sequence { bound } }
}

pub(super) fn schema(fields: impl Into<Vec<Field>>) -> Arc<Schema> {
    Arc::new(Schema { name: "test/msg/Test".into(), fields: fields.into() })
}

pub(super) fn text() -> Kind {
    Kind::String { bound: None }
}

/// Decodes a body written for little endian.
fn little(schema: &Arc<Schema>, body: &[u8]) -> Result<String, DecodeError> {
    decode(schema, &[&[0, 1, 0, 0], body].concat(), 131_072)
}

/// Decodes a body written for big endian.
fn big(schema: &Arc<Schema>, body: &[u8]) -> Result<String, DecodeError> {
    decode(schema, &[&[0, 0, 0, 0], body].concat(), 131_072)
}

fn decode(schema: &Arc<Schema>, cdr: &[u8], limit: usize) -> Result<String, DecodeError> {
    let mut out = JsonBuffer::new(limit);
    let result = Decoder::new(schema.clone()).unwrap().write_json(cdr, &mut out);
    assert!(out.as_bytes().len() <= limit);
    result.map(|()| String::from_utf8(out.as_bytes().to_vec()).unwrap())
}

/// Path, offset and fault of a message that has to be malformed.
fn fault(result: Result<String, DecodeError>) -> (String, usize, Fault) {
    match result {
        Err(DecodeError::Malformed(malformed)) => (malformed.path, malformed.offset, malformed.fault),
        other => panic!("not malformed: {other:?}"),
    }
}

/// `std_msgs/msg/Header`.
pub(super) fn header() -> Kind {
    let time = schema([field("sec", Kind::I32), field("nanosec", Kind::U32)]);
    Kind::Message(schema([field("stamp", Kind::Message(time)), field("frame_id", text())]))
}

#[test]
fn values_are_aligned_from_the_end_of_the_header() {
    let schema = schema([
        field("a", Kind::U8),
        field("b", Kind::F64),
        field("c", Kind::I8),
        field("d", Kind::I16),
        field("e", Kind::Bool),
        field("f", Kind::I64),
    ]);
    let body = [
        &[7, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee][..],
        &1.5f64.to_le_bytes(),
        &[0xff, 0xee, 0xfe, 0xff, 2, 0xee, 0xee, 0xee],
        &i64::MIN.to_le_bytes(),
    ]
    .concat();
    let json = r#"{"a":7,"b":1.5,"c":-1,"d":-2,"e":true,"f":-9223372036854775808}"#;
    assert_eq!(little(&schema, &body).unwrap(), json);
    let body = [
        &[7, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee][..],
        &1.5f64.to_be_bytes(),
        &[0xff, 0xee, 0xff, 0xfe, 2, 0xee, 0xee, 0xee],
        &i64::MIN.to_be_bytes(),
    ]
    .concat();
    assert_eq!(big(&schema, &body).unwrap(), json);
}

#[test]
fn nested_messages_are_nested_objects() {
    let schema = schema([field("header", header()), field("n", Kind::U8)]);
    let body = b"\x01\0\0\0\x02\0\0\0\x05\0\0\0odom\0\x03";
    let json = r#"{"header":{"stamp":{"sec":1,"nanosec":2},"frame_id":"odom"},"n":3}"#;
    assert_eq!(little(&schema, body).unwrap(), json);
}

#[test]
fn an_empty_message_is_one_octet_wherever_it_stands() {
    let empty = schema([]);
    assert_eq!(little(&empty, &[0x56]).unwrap(), "{}");
    assert_eq!(fault(little(&empty, &[])), ("".into(), 4, Fault::Truncated { needed: 1, left: 0 }));
    let outer = schema([
        field("before", Kind::Message(empty.clone())),
        field("n", Kind::U8),
        sequence("all", Kind::Message(empty), None),
    ]);
    let body = [9, 5, 0, 0, 2, 0, 0, 0, 9, 9];
    assert_eq!(little(&outer, &body).unwrap(), r#"{"before":{},"n":5,"all":[{},{}]}"#);
    assert_eq!(fault(little(&outer, &[])).0, "before");
}

#[test]
fn an_empty_sequence_has_no_alignment() {
    let schema = schema([sequence("wide", Kind::F64, None), field("n", Kind::U32)]);
    assert_eq!(little(&schema, &[0, 0, 0, 0, 6, 0, 0, 0]).unwrap(), r#"{"wide":[],"n":6}"#);
    let body = [&[1, 0, 0, 0, 0xee, 0xee, 0xee, 0xee][..], &2f64.to_le_bytes(), &[6, 0, 0, 0]].concat();
    assert_eq!(little(&schema, &body).unwrap(), r#"{"wide":[2.0],"n":6}"#);
}

#[test]
fn octets_in_numbers_are_base64_and_one_is_a_number() {
    let schema = schema([
        field("one", Kind::Byte),
        array("fixed", Kind::Byte, 4),
        sequence("many", Kind::U8, None),
        sequence("signed", Kind::I8, None),
    ]);
    let body = [200, 0, 1, 2, 255, 0, 0, 0, 2, 0, 0, 0, b'h', b'i', 0, 0, 1, 0, 0, 0, 255];
    let json = r#"{"one":200,"fixed":"AAEC/w==","many":"aGk=","signed":[-1]}"#;
    assert_eq!(little(&schema, &body).unwrap(), json);
}

#[test]
fn floats_have_the_digits_of_their_width() {
    let narrow = schema([sequence("f", Kind::F32, None)]);
    let floats = [0.1, -0.0, 1.0, 16_777_216.0, 1e16, 1.5e-7, f32::MAX, 1e-45, f32::NAN, f32::INFINITY, -f32::INFINITY];
    let mut body = (floats.len() as u32).to_be_bytes().to_vec();
    floats.iter().for_each(|float| body.extend_from_slice(&float.to_be_bytes()));
    let json = r#"{"f":[0.1,-0.0,1.0,16777216.0,1e+16,1.5e-7,3.4028235e+38,1e-45,null,null,null]}"#;
    assert_eq!(big(&narrow, &body).unwrap(), json);

    let wide = schema([array("f", Kind::F64, 3)]);
    let body: Vec<u8> = [0.1, f64::MAX, f64::NAN].iter().flat_map(|float: &f64| float.to_le_bytes()).collect();
    assert_eq!(little(&wide, &body).unwrap(), r#"{"f":[0.1,1.7976931348623157e+308,null]}"#);
}

#[test]
fn extreme_integers_keep_every_digit() {
    let schema = schema([field("u", Kind::U64), array("i", Kind::I64, 2), sequence("b", Kind::Bool, None)]);
    let body = [&[0xff; 8][..], &i64::MIN.to_le_bytes(), &i64::MAX.to_le_bytes(), &[3, 0, 0, 0, 0, 1, 255]].concat();
    let json = r#"{"u":18446744073709551615,"i":[-9223372036854775808,9223372036854775807],"b":[false,true,true]}"#;
    assert_eq!(little(&schema, &body).unwrap(), json);
}

#[test]
fn strings_lose_one_terminator_and_nothing_else() {
    let schema = schema([field("s", text())]);
    let string = |bytes: &[u8]| little(&schema, &[&(bytes.len() as u32).to_le_bytes(), bytes].concat()).unwrap();
    assert_eq!(string(b""), r#"{"s":""}"#);
    assert_eq!(string(b"\0"), r#"{"s":""}"#);
    assert_eq!(string(b"ab\0"), r#"{"s":"ab"}"#);
    assert_eq!(string(b"ab"), r#"{"s":"ab"}"#);
    assert_eq!(string(b"a\0b\0\0"), r#"{"s":"a\u0000b\u0000"}"#);
    assert_eq!(string("é😀\u{7f}\0".as_bytes()), "{\"s\":\"é😀\u{7f}\"}");
    assert_eq!(string(b"\"\\/\x08\x0c\n\r\t\x1f\0"), r#"{"s":"\"\\/\b\f\n\r\t\u001f"}"#);
    assert_eq!(string(b"\xff\xfeok\xe2\x82\"\0"), "{\"s\":\"\u{FFFD}\u{FFFD}ok\u{FFFD}\\\"\"}");
}

#[test]
fn wide_strings_are_code_units_of_four_bytes() {
    let schema =
        schema([field("w", Kind::WString { bound: None }), sequence("l", Kind::WString { bound: None }, None)]);
    let wide = |text: &[u16]| -> Vec<u8> {
        let units = text.iter().flat_map(|&unit| u32::from(unit).to_le_bytes());
        (text.len() as u32).to_le_bytes().into_iter().chain(units).collect()
    };
    let units: Vec<u16> = "aé😀\"".encode_utf16().collect();
    let body = [wide(&units), vec![2, 0, 0, 0], wide(&[]), wide(&[0xd83d, 0x61, 0xde00])].concat();
    let json = "{\"w\":\"aé😀\\\"\",\"l\":[\"\",\"\u{FFFD}a\u{FFFD}\"]}";
    assert_eq!(little(&schema, &body).unwrap(), json);

    let over = [&[1, 0, 0, 0][..], &0x1f600u32.to_le_bytes()].concat();
    assert_eq!(fault(little(&schema, &over)), ("w".into(), 8, Fault::CodeUnit(0x1f600)));
    let short = [2, 0, 0, 0, 0x61, 0, 0, 0];
    assert_eq!(fault(little(&schema, &short)), ("w".into(), 8, Fault::Truncated { needed: 8, left: 4 }));
}

#[test]
fn a_string_bound_counts_characters_as_rclpy_does() {
    let schema = schema([field("s", Kind::String { bound: Some(2) }), field("w", Kind::WString { bound: Some(1) })]);
    let body = [&b"\x05\0\0\0\xc3\xa9\xc3\xa9\0\xee\xee\xee\x02\0\0\0"[..], b"\x3d\xd8\0\0\0\xde\0\0"].concat();
    assert_eq!(little(&schema, &body).unwrap(), r#"{"s":"éé","w":"😀"}"#);
    let long = b"\x04\0\0\0abc\0";
    assert_eq!(fault(little(&schema, long)), ("s".into(), 8, Fault::OverBound { count: 3, bound: 2 }));
    let long = [&b"\x01\0\0\0\0\xee\xee\xee\x02\0\0\0"[..], b"a\0\0\0b\0\0\0"].concat();
    assert_eq!(fault(little(&schema, &long)), ("w".into(), 16, Fault::OverBound { count: 2, bound: 1 }));
}

#[test]
fn a_fault_names_the_field_and_the_byte() {
    let point = schema([field("x", Kind::F64), field("y", Kind::F64)]);
    let stamped = schema([field("header", header()), field("position", Kind::Message(point))]);
    let path = schema([field("n", Kind::U8), sequence("poses", Kind::Message(stamped), None)]);
    let pose = b"\x01\0\0\0\x02\0\0\0\x02\0\0\0m\0\xee\xee\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\0";
    // The poses start at a multiple of 8, so that each is laid out alike.
    let body = [b"\x09\xee\xee\xee\x02\0\0\0", pose.as_slice(), pose].concat();
    assert!(little(&path, &body).is_ok());

    let result = little(&path, &body[..body.len() - 5]);
    assert_eq!(fault(result.clone()), ("poses[1].position.y".into(), 68, Fault::Truncated { needed: 8, left: 3 }));
    assert_eq!(result.unwrap_err().to_string(), "field poses[1].position.y, byte 68: 8 bytes are needed, 3 are left");
    let result = fault(little(&path, &body[..8 + 12]));
    assert_eq!(result.0, "poses");

    let names = schema([sequence("names", text(), None)]);
    let result = fault(little(&names, b"\x02\0\0\0\x01\0\0\0\0\xee\xee\xee\x09\0\0\0"));
    assert_eq!(result, ("names[1]".into(), 20, Fault::Truncated { needed: 9, left: 0 }));
}

#[test]
fn announced_lengths_are_checked_before_anything_is_done() {
    let huge = [0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    let count = u32::MAX as usize;
    let nested = Kind::Message(schema([field("a", Kind::F64), field("b", text())]));
    for (kind, size) in [(Kind::U8, 1), (Kind::F32, 4), (Kind::F64, 8), (text(), 4), (nested, 12)] {
        let result = fault(little(&schema([sequence("s", kind, None)]), &huge));
        assert_eq!(result, ("s".into(), 4, Fault::Count { count, size, left: 4 }));
    }
    let result = fault(little(&schema([array("s", header(), usize::MAX)]), &huge));
    assert_eq!(result, ("s".into(), 4, Fault::Count { count: usize::MAX, size: 12, left: 8 }));
    let result = fault(little(&schema([field("s", text())]), &huge));
    assert_eq!(result, ("s".into(), 8, Fault::Truncated { needed: count, left: 4 }));
}

#[test]
fn a_sequence_over_its_bound_is_malformed() {
    let schema = schema([sequence("s", Kind::U8, Some(2))]);
    assert!(little(&schema, &[2, 0, 0, 0, 1, 2]).is_ok());
    let result = fault(little(&schema, &[3, 0, 0, 0, 1, 2, 3]));
    assert_eq!(result, ("s".into(), 4, Fault::OverBound { count: 3, bound: 2 }));
}

#[test]
fn only_plain_cdr_is_read() {
    let schema = schema([field("n", Kind::U8)]);
    for encapsulation in [0x0002u16, 0x0003, 0x0006, 0x0007, 0x000b, 0x0100] {
        let cdr = [&encapsulation.to_be_bytes()[..], &[0, 0, 5]].concat();
        assert_eq!(fault(decode(&schema, &cdr, 100)), ("".into(), 0, Fault::Encapsulation(encapsulation)));
    }
    for length in 0..4 {
        assert_eq!(fault(decode(&schema, &[0, 1, 0, 0][..length], 100)), ("".into(), 0, Fault::NoHeader { length }));
    }
    let result = decode(&schema, &[0, 3, 0, 0, 5], 100).unwrap_err().to_string();
    assert!(result.starts_with("byte 0: encapsulation 0x0003 is not supported"), "{result}");
    // Options are ignored.
    assert_eq!(decode(&schema, &[0, 1, 0xff, 0xff, 5], 100).unwrap(), r#"{"n":5}"#);
}

#[test]
fn bytes_after_the_last_field_are_ignored() {
    assert_eq!(little(&schema([field("n", Kind::U8)]), &[5, 0x56, 0, 0]).unwrap(), r#"{"n":5}"#);
    assert_eq!(little(&schema([]), &[0x56; 40]).unwrap(), "{}");
}

#[test]
fn the_limit_is_exact() {
    let schema = schema([
        field("s", text()),
        sequence("u", Kind::U8, None),
        sequence("f", Kind::F32, None),
        sequence("e", Kind::Message(schema([])), None),
    ]);
    let body = b"\x03\0\0\0\n!\0\xee\x03\0\0\0abc\xee\x02\0\0\0\0\0\0\0\0\0\x80\x3f\x02\0\0\0\0\0";
    let json = r#"{"s":"\n!","u":"YWJj","f":[0.0,1.0],"e":[{},{}]}"#;
    let cdr = [&[0, 1, 0, 0], &body[..]].concat();
    assert_eq!(decode(&schema, &cdr, json.len()).unwrap(), json);
    for limit in 0..json.len() {
        assert_eq!(decode(&schema, &cdr, limit), Err(DecodeError::TooLarge { limit }));
    }
}

#[test]
fn a_message_that_is_too_large_costs_no_memory() {
    let image = schema([field("header", header()), sequence("data", Kind::U8, None)]);
    let mut cdr = b"\0\x01\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\xee\xee\xee\x00\x00\x40\x00".to_vec();
    cdr.resize(cdr.len() + (4 << 20), 0x5a);
    let mut out = JsonBuffer::new(131_072);
    let result = Decoder::new(image).unwrap().write_json(&cdr, &mut out);
    assert_eq!(result, Err(DecodeError::TooLarge { limit: 131_072 }));
    assert!(out.as_bytes().len() < 100);
}

#[test]
fn text_is_appended() {
    let decoder = Decoder::new(schema([field("n", Kind::U8)])).unwrap();
    let mut out = JsonBuffer::new(100);
    out.put(b"[").unwrap();
    decoder.write_json(&[0, 1, 0, 0, 5], &mut out).unwrap();
    out.put(b"]").unwrap();
    assert_eq!(out.as_bytes(), br#"[{"n":5}]"#);
    out.clear();
    assert_eq!(out.as_bytes(), b"");
}

#[test]
fn the_data_of_a_string_is_its_bytes() {
    assert_eq!(string_data(b"\0\x01\0\0\x04\0\0\0a\xffb\0").unwrap(), b"a\xffb");
    assert_eq!(string_data(b"\0\0\0\0\0\0\0\x02a\0").unwrap(), b"a");
    let error = string_data(b"\0\x01\0\0\x04\0\0\0a").unwrap_err();
    assert_eq!(error.to_string(), "field data, byte 8: 4 bytes are needed, 1 are left");
    assert!(string_data(b"").is_err());
}

/// `depth` messages within each other.
pub(super) fn nested(depth: usize) -> Arc<Schema> {
    (1..depth).fold(schema([field("n", Kind::U8)]), |inner, _| schema([field("m", Kind::Message(inner))]))
}

#[test]
fn nesting_is_bounded() {
    let deepest = nested(SchemaError::MAX_DEPTH);
    let json = little(&deepest, &[5]).unwrap();
    assert_eq!(json.matches('{').count(), SchemaError::MAX_DEPTH);
    for depth in [SchemaError::MAX_DEPTH + 1, 500] {
        assert!(matches!(Decoder::new(nested(depth)), Err(SchemaError::TooDeep { .. })));
    }
    // A type that was planned already counts with its own depth.
    let half = nested(SchemaError::MAX_DEPTH / 2);
    let below =
        (0..SchemaError::MAX_DEPTH / 2).fold(half.clone(), |inner, _| schema([field("m", Kind::Message(inner))]));
    let twice = schema([field("shallow", Kind::Message(half)), field("deep", Kind::Message(below))]);
    assert!(matches!(Decoder::new(twice), Err(SchemaError::TooDeep { .. })));
}

/// Each type holds the one below twice: laid out flat, it would have 2^40 fields.
#[test]
fn a_plan_does_not_grow_with_the_power_of_the_nesting() {
    let wide = (0..40).fold(schema([field("n", Kind::U8)]), |inner, _| {
        schema([field("l", Kind::Message(inner.clone())), field("r", Kind::Message(inner))])
    });
    let (path, offset, _) = fault(little(&wide, &[5; 10]));
    assert_eq!((path.len(), offset), (40 * 2 + 1, 14));
    assert!(path.ends_with(".r.l.r.l.n"), "{path}");
}

#[test]
fn an_array_of_nothing_has_no_decoder() {
    let error = Decoder::new(schema([array("a", Kind::U8, 0)])).unwrap_err();
    assert_eq!(error.to_string(), "field a of type test/msg/Test is an array of no elements");
}

#[test]
fn names_are_escaped() {
    assert_eq!(little(&schema([field("a\"b", Kind::U8)]), &[5]).unwrap(), r#"{"a\"b":5}"#);
}

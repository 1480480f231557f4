//! Texts written by hand, and what becomes of them, byte for byte.

use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::codec::tests::{array, field, header, nested, schema, sequence, text};
use crate::codec::{JsonBuffer, Kind, SchemaError};
use crate::config::FieldPath;

/// An encoder with zeros as defaults.
fn encoder(schema: &Arc<Schema>) -> Encoder {
    Encoder::new(schema, &HashMap::new(), &[]).unwrap()
}

fn encode(encoder: &Encoder, json: impl AsRef<[u8]>) -> Result<Vec<u8>, EncodeError> {
    let mut cdr = b"what was there".to_vec();
    let result = encoder.encode(json.as_ref(), &mut cdr);
    assert_eq!(result.is_err(), cdr.is_empty());
    result.map(|()| cdr)
}

/// The body of the message, behind its header.
fn body(schema: &Arc<Schema>, json: &str) -> Vec<u8> {
    let cdr = encode(&encoder(schema), json).unwrap_or_else(|error| panic!("{json}: {error}"));
    cdr.strip_prefix(&[0, 1, 0, 0]).unwrap().to_vec()
}

/// What is said of a text that has to be refused.
fn refusal(encoder: &Encoder, json: impl AsRef<[u8]>) -> String {
    encode(encoder, json).unwrap_err().to_string()
}

/// What the decoder makes of what the encoder makes of `json`.
fn back(encoder: &Encoder, schema: &Arc<Schema>, json: &str) -> String {
    let cdr = encode(encoder, json).unwrap_or_else(|error| panic!("{json}: {error}"));
    let mut out = JsonBuffer::new(1 << 20);
    Decoder::new(schema.clone()).unwrap().write_json(&cdr, &mut out).unwrap();
    String::from_utf8(out.as_bytes().to_vec()).unwrap()
}

fn vector() -> Kind {
    Kind::Message(schema(["x", "y", "z"].map(|name| field(name, Kind::F64))))
}

/// `geometry_msgs/msg/Twist`.
fn twist() -> Arc<Schema> {
    schema([field("linear", vector()), field("angular", vector())])
}

/// One field of each kind, and lists.
fn every_kind() -> Arc<Schema> {
    schema([
        field("bool", Kind::Bool),
        field("byte", Kind::Byte),
        field("u8", Kind::U8),
        field("i8", Kind::I8),
        field("u16", Kind::U16),
        field("i16", Kind::I16),
        field("u32", Kind::U32),
        field("i32", Kind::I32),
        field("u64", Kind::U64),
        field("i64", Kind::I64),
        field("f32", Kind::F32),
        field("f64", Kind::F64),
        field("text", Kind::String { bound: Some(3) }),
        field("wide", Kind::WString { bound: Some(3) }),
        field("header", header()),
        array("pair", Kind::I32, 2),
        sequence("few", Kind::F32, Some(2)),
        sequence("bytes", Kind::U8, Some(4)),
        array("raw", Kind::Byte, 3),
        sequence("headers", header(), None),
    ])
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
        sequence("g", Kind::F64, None),
        sequence("h", Kind::F64, None),
    ]);
    let json = r#"{"a":7,"b":1.5,"c":-1,"d":-2,"e":true,"f":-9223372036854775808,"g":[],"h":[2]}"#;
    let expected = [
        &[7, 0, 0, 0, 0, 0, 0, 0][..],
        &1.5f64.to_le_bytes(),
        &[0xff, 0, 0xfe, 0xff, 1, 0, 0, 0],
        &i64::MIN.to_le_bytes(),
        &[0, 0, 0, 0, 1, 0, 0, 0],
        &2f64.to_le_bytes(),
    ];
    assert_eq!(body(&schema, json), expected.concat());
}

#[test]
fn texts_end_with_a_nul_and_wide_ones_are_code_units_of_four_bytes() {
    let schema = schema([
        field("s", text()),
        field("w", Kind::WString { bound: None }),
        sequence("l", text(), None),
        sequence("e", Kind::Message(schema([])), None),
        field("n", Kind::Message(schema([]))),
    ]);
    let json = r#" { "s" : "a\"\u00e9\ud83d\ude00" , "w":"a\ud83d\ude00","l":["","b"],"e":[{},{ }],"n":{} } "#;
    let expected = [
        &b"\x09\0\0\0a\"\xc3\xa9\xf0\x9f\x98\x80\0\0\0\0"[..],
        b"\x03\0\0\0a\0\0\0\x3d\xd8\0\0\x00\xde\0\0",
        b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0b\0\0\0",
        b"\x02\0\0\0\0\0\0",
    ];
    assert_eq!(body(&schema, json), expected.concat());
}

/// Objects may have their members in any order, at each level, and leave out what they like.
#[test]
fn members_stand_in_any_order() {
    let twist = twist();
    let sorted = r#"{"linear":{"x":1.0,"y":2.0,"z":3.0},"angular":{"x":0.0,"y":0.0,"z":6.0}}"#;
    for json in [
        sorted,
        r#"{"angular":{"z":6},"linear":{"z":3,"x":1,"y":2}}"#,
        r#"{"linear":{"y":2,"z":3,"x":1},"angular":{"y":0,"z":6}}"#,
        r#"{"angul\u0061r":{"z":6,"x":0},"linear":{"y":2e0,"x":0.1e1,"z":30E-1}}"#,
    ] {
        assert_eq!(back(&encoder(&twist), &twist, json), sorted);
    }
    let zeros = r#"{"linear":{"x":0.0,"y":0.0,"z":0.0},"angular":{"x":0.0,"y":0.0,"z":0.0}}"#;
    assert_eq!(back(&encoder(&twist), &twist, "{}"), zeros);
    let all = every_kind();
    let header = r#"{"stamp":{"sec":0,"nanosec":0},"frame_id":""}"#;
    let zeros = [
        r#"{"bool":false,"byte":0,"u8":0,"i8":0,"u16":0,"i16":0,"u32":0,"i32":0,"u64":0,"i64":0,"f32":0.0,"f64":0.0,"#,
        r#""text":"","wide":"","header":"#,
        header,
        r#","pair":[0,0],"few":[],"bytes":"","raw":"AAAA","headers":[]}"#,
    ];
    assert_eq!(back(&encoder(&all), &all, "{}"), zeros.concat());
    let empty = r#"{"headers":[{}],"header":{},"raw":"AAAA","text":""}"#;
    let with_one = zeros.concat().replace("\"headers\":[]", &format!("\"headers\":[{header}]"));
    assert_eq!(back(&encoder(&all), &all, empty), with_one);
}

#[test]
fn numbers_are_exact() {
    let all = every_kind();
    for (name, text, wanted) in [
        ("u64", "18446744073709551615", "18446744073709551615"),
        ("i64", "-9223372036854775808", "-9223372036854775808"),
        ("i64", "9007199254740993", "9007199254740993"),
        ("u8", "-0", "0"),
        ("i8", "-128", "-128"),
        // Halfway between two float32 is 1 + 2^-24; a little above it, rounded to float64 first, would be halfway.
        ("f32", "1.00000005960464477540", "1.0000001"),
        ("f32", "16777217", "16777216.0"),
        ("f32", "3.4028235e38", "3.4028235e+38"),
        ("f32", "1e-60", "0.0"),
        ("f64", "null", "null"),
        ("f64", "-0", "-0.0"),
        ("f64", "9007199254740993", "9007199254740992.0"),
        ("f64", "2.2250738585072011e-308", "2.225073858507201e-308"),
        ("f64", "1.7976931348623157e308", "1.7976931348623157e+308"),
    ] {
        let json = back(&encoder(&all), &all, &format!("{{\"{name}\":{text}}}"));
        assert!(json.contains(&format!("\"{name}\":{wanted},")), "{text}: {json}");
    }
    let cdr = body(&schema([field("f", Kind::F32), field("d", Kind::F64)]), r#"{"f":null,"d":null}"#);
    assert!(f32::from_le_bytes(cdr[..4].try_into().unwrap()).is_nan());
    assert!(f64::from_le_bytes(cdr[8..].try_into().unwrap()).is_nan());
}

/// Each is refused with its path, and nothing of what it held.
#[test]
fn what_does_not_fit_is_refused_with_its_path() {
    let all = encoder(&every_kind());
    for (json, words) in [
        (r#"{"u8":300}"#, "field u8: the number is out of the range of uint8, 0 to 255"),
        (r#"{"u8":-1}"#, "field u8: the number is out of the range of uint8, 0 to 255"),
        (r#"{"byte":256}"#, "field byte: the number is out of the range of uint8, 0 to 255"),
        (r#"{"i16":32768}"#, "field i16: the number is out of the range of int16, -32768 to 32767"),
        (
            r#"{"u64":18446744073709551616}"#,
            "field u64: the number is out of the range of uint64, 0 to 18446744073709551615",
        ),
        (r#"{"i32":1.5}"#, "field i32: int32 takes integers, without a fraction or an exponent"),
        (r#"{"i32":1.0}"#, "field i32: int32 takes integers, without a fraction or an exponent"),
        (r#"{"i32":1e3}"#, "field i32: int32 takes integers, without a fraction or an exponent"),
        (r#"{"i32":"1"}"#, "field i32: a number (int32) is needed, text stands there"),
        (r#"{"i32":null}"#, "field i32: a number (int32) is needed, null stands there"),
        (r#"{"f32":1e39}"#, "field f32: the number is out of the range of float32, at most 3.4028235e+38 either way"),
        (
            r#"{"f64":1e999}"#,
            "field f64: the number is out of the range of float64, at most 1.7976931348623157e+308 either way",
        ),
        (
            r#"{"f64":-1e999}"#,
            "field f64: the number is out of the range of float64, at most 1.7976931348623157e+308 either way",
        ),
        (r#"{"f64":"NaN"}"#, "field f64: a number (float64) is needed, text stands there"),
        (r#"{"f64":NaN}"#, "field f64: no JSON: expected value, near byte 7"),
        (r#"{"f64":-Infinity}"#, "field f64: no JSON: invalid number, near byte 8"),
        (r#"{"f64":{"a":1}}"#, "field f64: a number (float64) is needed, an object stands there"),
        (r#"{"bool":1}"#, "field bool: true or false is needed, a number stands there"),
        (r#"{"bool":null}"#, "field bool: true or false is needed, null stands there"),
        (r#"{"text":7}"#, "field text: text is needed, a number stands there"),
        (r#"{"text":"abcd"}"#, "field text: more than the 3 characters that its type allows"),
        (r#"{"wide":"äöüß"}"#, "field wide: more than the 3 characters that its type allows"),
        (r#"{"text":"a\u0000"}"#, "field text: a text with U+0000, where ROS would end it"),
        (r#"{"text":"\ud800"}"#, "field text: no JSON: unexpected end of hex escape, near byte 15"),
        (r#"{"text":"\udc00x"}"#, "field text: no JSON: lone leading surrogate in hex escape, near byte 14"),
        (r#"{"header":[]}"#, "field header: an object (test/msg/Test) is needed, an array stands there"),
        (r#"{"header":null}"#, "field header: an object (test/msg/Test) is needed, null stands there"),
        (
            r#"{"header":{"stamp":{"sec":true}}}"#,
            "field header.stamp.sec: a number (int32) is needed, true or false stands there",
        ),
        (r#"{"header":{"stamp":{"msec":1}}}"#, "field header.stamp.msec: test/msg/Test has no such field"),
        (
            r#"{"headers":[{},{"stamp":{"sec":2147483648}}]}"#,
            "field headers[1].stamp.sec: the number is out of the range of int32, -2147483648 to 2147483647",
        ),
        // The last of them is read when the others are.
        (
            r#"{"headers":[{},{"frame_id":3,"stamp":{}}]}"#,
            "field headers[1].frame_id: text is needed, a number stands there",
        ),
        (r#"{"headers":{}}"#, "field headers: an array is needed, an object stands there"),
        (r#"{"pair":[1]}"#, "field pair: it takes exactly 2 elements"),
        (r#"{"pair":[1,2,3]}"#, "field pair: it takes exactly 2 elements"),
        (r#"{"pair":[1,"2"]}"#, "field pair[1]: a number (int32) is needed, text stands there"),
        (r#"{"few":[1,2,3]}"#, "field few: more than the 2 elements that its type allows"),
        (r#"{"bytes":"AAAAAAA="}"#, "field bytes: more than the 4 bytes that its type allows"),
        (r#"{"bytes":[1,2]}"#, "field bytes: base64 text is needed, an array stands there"),
        (r#"{"bytes":"AA"}"#, "field bytes: no base64 of the standard alphabet with padding"),
        (r#"{"bytes":"AB=="}"#, "field bytes: no base64 of the standard alphabet with padding"),
        (r#"{"bytes":"AA==\n"}"#, "field bytes: no base64 of the standard alphabet with padding"),
        (r#"{"bytes":"-_8="}"#, "field bytes: no base64 of the standard alphabet with padding"),
        (r#"{"raw":"AAA="}"#, "field raw: it takes exactly 3 bytes"),
        (r#"{"u8":1,"u8":1}"#, "field u8: it stands there twice"),
        (r#"{"i8":1,"i\u0038":1}"#, "field i8: it stands there twice"),
        (r#"{"header":{"stamp":{},"stamp":{}}}"#, "field header.stamp: it stands there twice"),
        (r#"{"extra":[[[[1]]]]}"#, "field extra: test/msg/Test has no such field"),
        (r#"[]"#, "an object (test/msg/Test) is needed, an array stands there"),
        (r#""text""#, "an object (test/msg/Test) is needed, text stands there"),
        (r#"null"#, "an object (test/msg/Test) is needed, null stands there"),
        ("", "no JSON: EOF while parsing a value, near byte 0"),
        ("{", "no JSON: EOF while parsing an object, near byte 0"),
        ("{\n\n \"u8\":1}}", "no JSON: trailing characters, near byte 11"),
        (r#"{"u8":1} {}"#, "no JSON: trailing characters, near byte 9"),
        (r#"{"u8":1,}"#, "no JSON: trailing comma, near byte 8"),
        (r#"{u8:1}"#, "no JSON: key must be a string, near byte 1"),
        (r#"{"u8":01}"#, "field u8: no JSON: invalid number, near byte 7"),
        (r#"{"i8":1,"u8":01}"#, "field u8: no JSON: invalid number, near byte 14"),
        ("\u{feff}{}", "no JSON: expected value, near byte 0"),
    ] {
        assert_eq!(refusal(&all, json), words, "{json}");
    }
    assert_eq!(refusal(&all, b"{\"text\":\"\xff\"}"), "field text: no JSON: invalid unicode code point, near byte 9");
    assert!(refusal(&all, b"{\"\xff\":1}").starts_with("no JSON: invalid unicode code point"));
}

/// A name that the type does not have is shown so that it can't do harm, and never at length.
#[test]
fn names_of_others_are_cut_and_escaped() {
    let all = encoder(&every_kind());
    let shown =
        |name: &str| refusal(&all, format!("{{\"{name}\":1}}")).replace(": test/msg/Test has no such field", "");
    assert_eq!(shown(r#"\u001b[2J\n\u202e\""#), r#"field \u{1b}[2J\n\u{202e}\""#);
    assert_eq!(shown(&"x".repeat(100_000)), format!("field {}…", "x".repeat(EncodeError::LONGEST_NAME)));
}

/// Whatever comes is refused at once, by a stack and a memory that do not grow with it.
#[test]
fn hostile_texts_are_refused() {
    let all = encoder(&every_kind());
    const LONG: usize = 128 << 10;
    let deep = |open: &str, close: &str| open.repeat(LONG / 2) + &close.repeat(LONG / 2);
    for value in [
        deep("[", "]"),
        "[".repeat(LONG),
        r#"{"a":"#.repeat(LONG / 5),
        deep("[", "]").replace("[]", "[1e999]"),
        "9".repeat(LONG),
        format!("1e{}", "9".repeat(LONG)),
        format!("0.{}", "1".repeat(LONG)),
        format!("\"{}\"", "a".repeat(LONG)),
        "4294967296".into(),
    ] {
        for field in ["u8", "few", "text", "bytes", "header", "headers", "pair", "nothing"] {
            refusal(&all, format!("{{\"{field}\":{value}}}"));
            // Remembered for later.
            refusal(&all, format!("{{\"headers\":[],\"{field}\":{value},\"bool\":1}}"));
        }
    }
    refusal(&all, "[".repeat(LONG));
    refusal(&all, "{\"bool\":true,".repeat(LONG / 13));
    // More digits than matter are not read for ever, nor wrong.
    let json = back(&all, &every_kind(), &format!("{{\"f64\":0.{}}}", "3".repeat(LONG)));
    assert!(json.contains("\"f64\":0.3333333333333333,"), "{json}");
}

/// A few bytes of text can be a message of many, where objects leave out most of their fields: up to the largest one.
#[test]
fn a_message_is_never_too_large() {
    let wide = schema([sequence("all", Kind::Message(schema([array("zeros", Kind::F64, 1000)])), None)]);
    let objects = |count: usize| format!("{{\"all\":[{}]}}", vec!["{}"; count].join(","));
    let encoder_of_wide = encoder(&wide);
    assert_eq!(encode(&encoder_of_wide, objects(500)).unwrap().len(), 4 + 8 + 500 * 8000);
    let mut cdr = Vec::new();
    let error = encoder_of_wide.encode(objects(40_000).as_bytes(), &mut cdr).unwrap_err();
    assert_eq!(
        (error.path.as_str(), error.fault),
        ("all[524].zeros", EncodeFault::TooLarge { limit: Encoder::LARGEST })
    );
    assert!(cdr.capacity() <= 3 * Encoder::LARGEST);
    // Each type holds the one below twice: 2^40 octets.
    let endless = (0..40).fold(schema([field("n", Kind::U8)]), |inner, _| {
        schema([field("l", Kind::Message(inner.clone())), field("r", Kind::Message(inner))])
    });
    assert!(refusal(&encoder(&endless), "{}").ends_with("the message would be over 4194304 bytes"));
    let error = Encoder::new(&schema([array("a", Kind::F64, 1 << 40)]), &HashMap::new(), &[]).unwrap_err();
    assert_eq!(error.to_string(), "messages of type test/msg/Test are over 4194304 bytes");
}

#[test]
fn nesting_is_bounded() {
    let deepest = nested(SchemaError::MAX_DEPTH);
    assert_eq!(body(&deepest, &(r#"{"m":"#.repeat(63) + r#"{"n":5}"# + &"}".repeat(63))), [5]);
    let error = Encoder::new(&nested(SchemaError::MAX_DEPTH + 1), &HashMap::new(), &[]).unwrap_err();
    assert!(matches!(error, NoEncoder::Schema(SchemaError::TooDeep { .. })), "{error}");
}

fn named(name: &str, fields: impl Into<Vec<crate::codec::Field>>) -> Arc<Schema> {
    Arc::new(Schema { name: name.into(), fields: fields.into() })
}

/// What a text leaves out has the default of the definition: of the type itself, of a message within it, and of an element of
/// a sequence that is empty by default. In either byte order.
#[test]
fn what_is_missing_has_the_default_of_its_definition() {
    let inner = named("a/msg/Inner", [field("n", Kind::U16), sequence("list", Kind::F64, None), field("name", text())]);
    let outer = named(
        "a/msg/Outer",
        [
            field("flag", Kind::Bool),
            field("one", Kind::Message(inner.clone())),
            array("two", Kind::Message(inner.clone()), 2),
            sequence("more", Kind::Message(inner.clone()), None),
            field("w", Kind::WString { bound: None }),
            field("d", Kind::F64),
        ],
    );
    let of_inner = |big: bool| {
        let number = |bytes: [u8; 2]| if big { [bytes[1], bytes[0]] } else { bytes };
        let length = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let double = |value: f64| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        [&number([7, 0])[..], &[0, 0], &length(1), &double(1.5), &length(2), b"p\0"].concat()
    };
    for big in [false, true] {
        let header = [0, u8::from(!big), 0, 0];
        let end = if big { [0, 0, 0, 1, 0, 0, 0, b'w'] } else { [1, 0, 0, 0, b'w', 0, 0, 0] };
        let double = if big { (-2.5f64).to_be_bytes() } else { (-2.5f64).to_le_bytes() };
        let defaults = HashMap::from([("a/msg/Inner".to_owned(), [&header[..], &of_inner(big)].concat())]);
        let known = Encoder::new(&outer, &defaults, &[]).unwrap();
        let inner_json = r#"{"n":7,"list":[1.5],"name":"p"}"#;
        let json = back(&known, &outer, r#"{"more":[{},{"n":1}]}"#);
        let expected = format!(
            r#"{{"flag":false,"one":{inner_json},"two":[{inner_json},{inner_json}],"more":[{inner_json},{}],"w":"","d":0.0}}"#,
            inner_json.replace('7', "1")
        );
        assert_eq!(json, expected);

        let plain = named("a/msg/Plain", [field("w", Kind::WString { bound: None }), field("d", Kind::F64)]);
        let default = [&header[..], &end, &double].concat();
        let known = Encoder::new(&plain, &HashMap::from([("a/msg/Plain".to_owned(), default)]), &[]).unwrap();
        assert_eq!(back(&known, &plain, "{}"), r#"{"w":"w","d":-2.5}"#);
    }
    let of_one = [1, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    let short = HashMap::from([("a/msg/Outer".to_owned(), [&[0, 1, 0, 0][..], &of_one, &[7, 0]].concat())]);
    let error = Encoder::new(&outer, &short, &[]).unwrap_err().to_string();
    let words =
        "the default message of a/msg/Outer can't be read: field two[0].list, byte 20: 4 bytes are needed, 0 are left";
    assert_eq!(error, words);
}

fn limits(schema: &Arc<Schema>, limits: &[(&str, f64, f64)]) -> Result<Encoder, NoEncoder> {
    let limits =
        limits.iter().map(|&(path, lowest, highest)| Limit { path: FieldPath::parse(path).unwrap(), lowest, highest });
    Encoder::new(schema, &HashMap::new(), &limits.collect::<Vec<_>>())
}

#[test]
fn numbers_keep_to_their_limits() {
    let all = schema([
        field("twist", Kind::Message(twist())),
        sequence("points", vector(), None),
        array("pair", Kind::I32, 2),
        sequence("bytes", Kind::U8, None),
        field("gain", Kind::F32),
    ]);
    let known = limits(
        &all,
        &[
            ("twist.linear.x", -0.5, 0.5),
            ("twist.angular.*", -1.0, 1.0),
            ("points[*].*", -9.0, 9.0),
            ("points[1].z", 0.0, 20.0),
            ("pair", 0.0, 5.0),
            ("bytes[*]", 0.0, 127.0),
        ],
    )
    .unwrap();
    for json in [
        "{}",
        r#"{"twist":{"linear":{"x":0.5,"y":7,"z":null},"angular":{"x":1,"y":-1}},"gain":null}"#,
        r#"{"points":[{"z":-9},{"z":9}],"pair":[0,5],"bytes":"fwA="}"#,
    ] {
        encode(&known, json).unwrap_or_else(|error| panic!("{json}: {error}"));
    }
    for (json, words) in [
        (r#"{"twist":{"linear":{"x":0.51}}}"#, "field twist.linear.x: outside of the limits -0.5 to 0.5"),
        (r#"{"twist":{"linear":{"y":1,"x":-1e300}}}"#, "field twist.linear.x: outside of the limits -0.5 to 0.5"),
        (r#"{"twist":{"linear":{"x":null}}}"#, "field twist.linear.x: outside of the limits -0.5 to 0.5"),
        (r#"{"twist":{"angular":{"z":1.0000001}}}"#, "field twist.angular.z: outside of the limits -1 to 1"),
        (r#"{"points":[{},{},{"y":10}]}"#, "field points[2].y: outside of the limits -9 to 9"),
        (r#"{"points":[{},{"z":10}]}"#, "field points[1].z: outside of the limits 0 to 9"),
        (r#"{"points":[{},{"z":-1}]}"#, "field points[1].z: outside of the limits 0 to 9"),
        (r#"{"pair":[0,6]}"#, "field pair[1]: outside of the limits 0 to 5"),
        (r#"{"bytes":"AIA="}"#, "field bytes[1]: outside of the limits 0 to 127"),
    ] {
        let error = encode(&known, json).unwrap_err();
        assert!(matches!(error.fault, EncodeFault::OutOfLimits { .. }));
        assert_eq!(error.to_string(), words, "{json}");
    }
}

/// What a text leaves out counts with its default.
#[test]
fn defaults_keep_to_the_limits() {
    let twist = twist();
    let known = limits(&twist, &[("linear.x", 1.0, 2.0)]).unwrap();
    for json in ["{}", r#"{"linear":{}}"#, r#"{"linear":{"z":1}}"#] {
        assert_eq!(refusal(&known, json), "field linear.x: outside of the limits 1 to 2", "{json}");
    }
    encode(&known, r#"{"linear":{"x":1.5}}"#).unwrap();
    let lists = schema([array("two", Kind::Message(twist), 2), array("pair", Kind::I32, 2)]);
    let known = limits(&lists, &[("two[1].linear.y", 1.0, 2.0)]).unwrap();
    assert_eq!(refusal(&known, "{}"), "field two[1].linear.y: outside of the limits 1 to 2");
    let known = limits(&lists, &[("pair[1]", 1.0, 2.0)]).unwrap();
    assert_eq!(refusal(&known, "{}"), "field pair[1]: outside of the limits 1 to 2");
}

#[test]
fn a_limit_of_no_number_is_refused() {
    let all = every_kind();
    for (path, lowest, highest, words) in [
        ("header.stamp.msec", 0.0, 1.0, "test/msg/Test has no field msec, but sec, nanosec"),
        ("header", 0.0, 1.0, "it leads to no number"),
        ("text", 0.0, 1.0, "it leads to no number"),
        ("text.x", 0.0, 1.0, "it goes on below what has no fields"),
        ("pair[2]", 0.0, 1.0, "the array has 2 elements, from 0 on"),
        ("u8[0]", 0.0, 1.0, "there is no array or sequence where it has an index"),
        ("headers.stamp.sec", 0.0, 1.0, "it goes on below an array or sequence, which needs `[*]` or an index"),
        ("u8", 2.0, 1.0, "nothing is from 2 to 1"),
        ("u8", f64::NAN, 1.0, "nothing is from NaN to 1"),
    ] {
        let error = limits(&all, &[(path, lowest, highest)]).unwrap_err().to_string();
        assert_eq!(error, format!("limit `{path}`: {words}"));
    }
    assert!(limits(&all, &[("headers[3].stamp.sec", 0.0, f64::INFINITY), ("*.stamp.*", 0.0, 1.0)]).is_ok());
}

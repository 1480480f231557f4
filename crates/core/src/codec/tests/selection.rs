//! What is selected of a message, and what is said of paths that lead nowhere.

use super::*;
use crate::config::{ArrayLimit, ArrayOver, FieldPath};

/// A message with an identifier, poses with a header each, a fixed array, octets, names, ticks, and a message without
/// fields.
fn scene() -> Arc<Schema> {
    let point = schema([field("x", Kind::F64), field("y", Kind::F64)]);
    let stamped = schema([field("header", header()), field("position", Kind::Message(point))]);
    let scan = schema([array("ranges", Kind::F32, 5), field("max", Kind::F32)]);
    schema([
        field("id", Kind::U8),
        sequence("poses", Kind::Message(stamped), None),
        field("scan", Kind::Message(scan)),
        sequence("data", Kind::U8, None),
        sequence("names", text(), Some(3)),
        sequence("ticks", Kind::I16, None),
        field("nothing", Kind::Message(schema([]))),
        field("last", Kind::I16),
    ])
}

/// A scene with two poses.
const SCENE: &[u8] = b"\
    \0\x01\0\0\
    \x07\xee\xee\xee\x02\0\0\0\
    \x01\0\0\0\x02\0\0\0\x02\0\0\0a\0\xee\xee\
    \0\0\0\0\0\0\xe0\x3f\0\0\0\0\0\0\xf0\x3f\
    \x03\0\0\0\x04\0\0\0\x02\0\0\0b\0\xee\xee\
    \0\0\0\0\0\0\xf8\x3f\0\0\0\0\0\0\0\xc0\
    \0\0\x80\x3f\0\0\x20\x40\0\0\xc0\x7f\0\0\x80\xbf\0\0\0\0\
    \0\0\x10\x41\
    \x05\0\0\0abcde\xee\xee\xee\
    \x02\0\0\0\x02\0\0\0x\0\xee\xee\x02\0\0\0y\0\xee\xee\
    \x03\0\0\0\x01\0\xff\xff\x05\0\
    \x09\xee\xfe\xff";

/// The same, as it is without a selection.
const WHOLE: &str = concat!(
    r#"{"id":7,"poses":["#,
    r#"{"header":{"stamp":{"sec":1,"nanosec":2},"frame_id":"a"},"position":{"x":0.5,"y":1.0}},"#,
    r#"{"header":{"stamp":{"sec":3,"nanosec":4},"frame_id":"b"},"position":{"x":1.5,"y":-2.0}}],"#,
    r#""scan":{"ranges":[1.0,2.5,null,-1.0,0.0],"max":9.0},"data":"YWJjZGU=","names":["x","y"],"#,
    r#""ticks":[1,-1,5],"nothing":{},"last":-2}"#
);

fn paths(paths: &[&str]) -> Vec<FieldPath> {
    paths.iter().map(|path| FieldPath::parse(path).unwrap()).collect()
}

fn selection(fields: &[&str], exclude: &[&str]) -> Selection {
    Selection { fields: paths(fields), exclude: paths(exclude), ..Selection::default() }
}

/// What is written of the scene.
fn write(selection: &Selection) -> Result<String, DecodeError> {
    let mut out = JsonBuffer::new(1000);
    Decoder::select(scene(), selection).unwrap().write_json(SCENE, &mut out)?;
    Ok(String::from_utf8(out.as_bytes().to_vec()).unwrap())
}

fn select(fields: &[&str], exclude: &[&str]) -> String {
    write(&selection(fields, exclude)).unwrap()
}

/// Why a selection of the scene is refused.
fn refusal(selection: &Selection) -> String {
    Decoder::select(scene(), selection).unwrap_err().to_string()
}

#[test]
fn fields_keep_their_nesting_and_their_order() {
    assert_eq!(select(&[], &[]), WHOLE);
    assert_eq!(select(&["last", "id"], &[]), r#"{"id":7,"last":-2}"#);
    assert_eq!(select(&["scan.max"], &[]), r#"{"scan":{"max":9.0}}"#);
    assert_eq!(select(&["*.max", "nothing"], &[]), r#"{"scan":{"max":9.0},"nothing":{}}"#);
    assert_eq!(select(&["scan"], &["scan.max"]), r#"{"scan":{"ranges":[1.0,2.5,null,-1.0,0.0]}}"#);
    assert_eq!(select(&["names", "data"], &[]), r#"{"data":"YWJjZGU=","names":["x","y"]}"#);
    assert_eq!(select(&["*"], &["poses", "scan", "*[*]", "nothing"]), r#"{"id":7,"last":-2}"#);
    assert_eq!(
        select(&["poses[*].position.x", "poses[*].header.frame_id"], &[]),
        concat!(
            r#"{"poses":[{"header":{"frame_id":"a"},"position":{"x":0.5}},"#,
            r#"{"header":{"frame_id":"b"},"position":{"x":1.5}}]}"#
        )
    );
}

/// A message of which nothing is left vanishes, and its name with it, also the first and the last.
#[test]
fn objects_of_which_nothing_is_left_vanish() {
    assert_eq!(select(&["id", "scan"], &["scan.*"]), r#"{"id":7}"#);
    assert_eq!(select(&["scan", "last"], &["scan.ranges", "scan.max"]), r#"{"last":-2}"#);
    assert_eq!(
        select(&["poses"], &["*[*].header.*", "*[*].position.y"]),
        r#"{"poses":[{"position":{"x":0.5}},{"position":{"x":1.5}}]}"#
    );
    let nothing = refusal(&selection(&["scan", "nothing"], &["scan.*", "nothing"]));
    assert_eq!(nothing, "`fields` and `exclude` leave nothing of test/msg/Test");
}

#[test]
fn chosen_elements_stand_in_an_array() {
    assert_eq!(select(&["poses[1].position"], &[]), r#"{"poses":[{"position":{"x":1.5,"y":-2.0}}]}"#);
    assert_eq!(select(&["poses[7].position", "id"], &[]), r#"{"id":7,"poses":[]}"#);
    assert_eq!(select(&["scan.ranges[3]", "scan.ranges[0]"], &[]), r#"{"scan":{"ranges":[1.0,-1.0]}}"#);
    assert_eq!(select(&["names[1]", "data[1]", "data[3]"], &[]), r#"{"data":"YmQ=","names":["y"]}"#);
    assert_eq!(
        select(&["scan.ranges", "names"], &["scan.ranges[2]", "names[0]"]),
        r#"{"scan":{"ranges":[1.0,2.5,-1.0,0.0]},"names":["y"]}"#
    );
    assert_eq!(
        select(&["poses[*].position.y", "poses[0].header.stamp.sec"], &[]),
        r#"{"poses":[{"header":{"stamp":{"sec":1}},"position":{"y":1.0}},{"position":{"y":-2.0}}]}"#
    );
    // One element of which nothing is left, among others.
    assert_eq!(select(&["poses[*].position.y"], &["poses[0]"]), r#"{"poses":[{"position":{"y":-2.0}}]}"#);
}

fn arrays(max: u32, over: ArrayOver) -> Selection {
    Selection { arrays: Some(ArrayLimit { max, over }), ..Selection::default() }
}

#[test]
fn long_arrays_are_truncated() {
    let mut one = arrays(1, ArrayOver::Truncate);
    assert_eq!(
        write(&one).unwrap(),
        concat!(
            r#"{"id":7,"poses":[{"header":{"stamp":{"sec":1,"nanosec":2},"frame_id":"a"},"position":{"x":0.5,"y":1.0}}],"#,
            r#""scan":{"ranges":[1.0],"max":9.0},"data":"YQ==","names":["x"],"ticks":[1],"nothing":{},"last":-2}"#
        )
    );
    // What is left of the elements counts, and a field's own limit.
    one.fields = paths(&["scan.ranges[3]", "scan.ranges[4]", "poses[1].header.stamp.sec", "data", "ticks"]);
    one.array_fields = vec![
        (FieldPath::parse("data").unwrap(), ArrayLimit { max: 5, over: ArrayOver::Omit }),
        (FieldPath::parse("ticks").unwrap(), ArrayLimit { max: 0, over: ArrayOver::Truncate }),
    ];
    let expected =
        r#"{"poses":[{"header":{"stamp":{"sec":3}}}],"scan":{"ranges":[-1.0]},"data":"YWJjZGU=","ticks":[]}"#;
    assert_eq!(write(&one).unwrap(), expected);
    assert_eq!(write(&arrays(5, ArrayOver::Truncate)).unwrap(), WHOLE);
}

/// With its name and its comma, whether it is the first, the last or the only one.
#[test]
fn long_arrays_are_omitted() {
    let mut omit = arrays(2, ArrayOver::Omit);
    let expected = concat!(
        r#"{"id":7,"poses":[{"header":{"stamp":{"sec":1,"nanosec":2},"frame_id":"a"},"position":{"x":0.5,"y":1.0}},"#,
        r#"{"header":{"stamp":{"sec":3,"nanosec":4},"frame_id":"b"},"position":{"x":1.5,"y":-2.0}}],"#,
        r#""scan":{"max":9.0},"names":["x","y"],"nothing":{},"last":-2}"#
    );
    assert_eq!(write(&omit).unwrap(), expected);
    omit.arrays = Some(ArrayLimit { max: 1, over: ArrayOver::Omit });
    for (fields, expected) in [
        (&["poses", "data", "scan.max"][..], r#"{"scan":{"max":9.0}}"#),
        (&["poses", "scan.ranges", "data", "last"], r#"{"scan":{},"last":-2}"#),
        (&["poses", "data", "nothing"], r#"{"nothing":{}}"#),
        (&["id", "data", "names"], r#"{"id":7}"#),
        (&["data"], "{}"),
    ] {
        omit.fields = paths(fields);
        assert_eq!(write(&omit).unwrap(), expected);
    }
    omit.array_fields = vec![(FieldPath::parse("data").unwrap(), ArrayLimit { max: 9, over: ArrayOver::Omit })];
    omit.fields = paths(&["poses", "data", "names"]);
    assert_eq!(write(&omit).unwrap(), r#"{"data":"YWJjZGU="}"#);
}

#[test]
fn a_message_with_a_long_array_is_dropped() {
    let mut drop = arrays(3, ArrayOver::Drop);
    let error = write(&drop).unwrap_err();
    assert!(matches!(&error, DecodeError::TooLong(too_long) if (too_long.count, too_long.max) == (5, 3)));
    assert_eq!(error.to_string(), "field scan.ranges has 5 elements, `arrays` drops messages with more than 3");
    // What is excluded is not looked at.
    drop.exclude = paths(&["scan.ranges", "data"]);
    assert!(write(&drop).is_ok());
}

#[test]
fn long_arrays_are_summed_up() {
    let mut summary = arrays(1, ArrayOver::Summary);
    summary.exclude = paths(&["id", "last", "nothing"]);
    let expected = concat!(
        r#"{"poses":{"count":2},"scan":{"ranges":{"count":5,"min":-1.0,"max":2.5,"mean":0.625},"max":9.0},"#,
        r#""data":{"count":5},"names":{"count":2},"ticks":{"count":3,"min":-1,"max":5,"mean":1.6666666666666667}}"#
    );
    assert_eq!(write(&summary).unwrap(), expected);
    summary.digits = Some(2);
    summary.fields = paths(&["ticks", "scan.ranges[1]", "scan.ranges[2]"]);
    let expected = r#"{"scan":{"ranges":{"count":2,"min":2.5,"max":2.5,"mean":2.5}},"ticks":{"count":3,"min":-1,"max":5,"mean":1.6666666666666667}}"#;
    assert_eq!(write(&summary).unwrap(), expected);
    summary.arrays = Some(ArrayLimit { max: 0, over: ArrayOver::Summary });
    summary.fields = paths(&["scan.ranges[2]"]);
    assert_eq!(write(&summary).unwrap(), r#"{"scan":{"ranges":{"count":1,"min":null,"max":null,"mean":null}}}"#);
}

#[test]
fn the_mean_of_the_largest_is_finite() {
    let schema = schema([array("f", Kind::F64, 3)]);
    let body: Vec<u8> = [f64::MAX; 3].iter().flat_map(|float| float.to_le_bytes()).collect();
    let mut out = JsonBuffer::new(1000);
    let decoder = Decoder::select(schema, &arrays(0, ArrayOver::Summary)).unwrap();
    decoder.write_json(&[&[0, 1, 0, 0], body.as_slice()].concat(), &mut out).unwrap();
    let json: serde_json::Value = serde_json::from_slice(out.as_bytes()).unwrap();
    let mean = json["f"]["mean"].as_f64().unwrap();
    assert!(mean > f64::MAX * 0.999_999, "{mean:e}");
}

#[test]
fn digits_are_those_of_floats() {
    let selection =
        Selection { digits: Some(1), fields: paths(&["id", "scan", "poses[0].position"]), ..Selection::default() };
    let expected =
        r#"{"id":7,"poses":[{"position":{"x":0.5,"y":1.0}}],"scan":{"ranges":[1.0,2.0,null,-1.0,0.0],"max":9.0}}"#;
    assert_eq!(write(&selection).unwrap(), expected);
}

/// The end of a message that is cut off is found although nobody wants it.
#[test]
fn what_is_passed_over_has_to_be_there() {
    let mut out = JsonBuffer::new(1000);
    for fields in [&["id"][..], &["poses[0].position.x"], &["scan.max"], &["last"]] {
        let decoder = Decoder::select(scene(), &selection(fields, &[])).unwrap();
        for length in 0..SCENE.len() {
            out.clear();
            let error = decoder.write_json(&SCENE[..length], &mut out).expect_err("it is cut off");
            assert!(matches!(&error, DecodeError::Malformed(malformed) if malformed.offset <= length), "{error}");
        }
    }
    let decoder = Decoder::select(scene(), &selection(&["id"], &[])).unwrap();
    let error = decoder.write_json(&SCENE[..70], &mut out).unwrap_err().to_string();
    assert_eq!(error, "field poses[1].position, byte 58: 18 bytes are needed, 12 are left");
    // Four thousand million poses are announced.
    let mut huge = SCENE.to_vec();
    huge[8..12].fill(0xff);
    let error = decoder.write_json(&huge, &mut out).unwrap_err().to_string();
    assert!(
        error.starts_with("field poses, byte 8: 4294967295 elements of at least 28 bytes are announced"),
        "{error}"
    );
}

#[test]
fn a_path_that_leads_nowhere_is_refused_with_near_names() {
    let scene =
        |key: &str, path: &str, why: &str| format!("`{path}` in `{key}` matches nothing in test/msg/Test: {why}");
    for (path, why) in [
        ("idd", "test/msg/Test has no field `idd`; did you mean `id`?"),
        ("scan.range", "test/msg/Test has no field `range`; did you mean `ranges`?"),
        (
            "zzz",
            "test/msg/Test has no field `zzz`; known are `id`, `poses`, `scan`, `data`, `names`, `ticks`, `nothing`, `last`",
        ),
        ("*.covariance", "no field `covariance` is there; known are `ranges`, `max`"),
        ("poses.position", "`poses` is an array; write `poses[*]` for each element, or `poses[0]` for the first"),
        ("scan[0]", "`scan` is no array and has no elements"),
        ("id.x", "`id` is a single value, without fields"),
        ("names[*].x", "`names` is a single value, without fields"),
        ("scan.ranges[5]", "`ranges` has at most 5 elements, the last one is `ranges[4]`"),
        ("names[3]", "`names` has at most 3 elements, the last one is `names[2]`"),
        ("nothing.x", "test/msg/Test has no fields"),
    ] {
        assert_eq!(refusal(&selection(&[path], &[])), scene("fields", path, why));
        assert_eq!(refusal(&selection(&["id"], &[path])), scene("exclude", path, why));
    }
    for (path, why) in [
        ("scan", "`scan` is no array"),
        ("poses[0]", "`an element of poses` is no array"),
        ("idd", "test/msg/Test has no field `idd`; did you mean `id`?"),
    ] {
        let limit = ArrayLimit { max: 1, over: ArrayOver::Omit };
        let selection =
            Selection { array_fields: vec![(FieldPath::parse(path).unwrap(), limit)], ..Selection::default() };
        assert_eq!(refusal(&selection), scene("arrays.fields", path, why));
    }
}

/// Each type holds the one below twice, and a path of stars would be met in 2^40 ways.
#[test]
fn a_path_of_stars_is_followed_in_no_time() {
    let wide = (0..40).fold(schema([field("n", Kind::U8)]), |inner, _| {
        schema([field("l", Kind::Message(inner.clone())), field("r", Kind::Message(inner))])
    });
    let stars = ["*"; 40].join(".");
    let wrong = Decoder::select(wide.clone(), &selection(&[&format!("{stars}.m")], &[])).unwrap_err().to_string();
    assert!(
        wrong.ends_with("test/msg/Test has no field `m`; did you mean `n`?") || wrong.ends_with("known are `n`"),
        "{wrong}"
    );
    Decoder::select(wide, &selection(&[&format!("{stars}.n")], &["*.*.r.*.l"])).unwrap();
}

/// The values that are read of a scene.
fn read(fields: &[&str], exclude: &[&str]) -> Vec<String> {
    let (decoder, mut values) = (Decoder::select(scene(), &selection(fields, exclude)).unwrap(), Vec::new());
    decoder.read_values(SCENE, |value| values.push(format!("{value:?}"))).unwrap();
    values
}

#[test]
fn chosen_elements_are_read() {
    assert_eq!(read(&["poses[1].position", "last"], &[]), ["Length(2)", "F64(1.5)", "F64(-2.0)", "Signed(-2)"]);
    assert_eq!(read(&["poses[7].position", "id"], &[]), ["Unsigned(7)", "Length(2)"]);
    assert_eq!(read(&["scan.ranges[3]", "scan.ranges[0]", "last"], &[]), ["F32(1.0)", "F32(-1.0)", "Signed(-2)"]);
    assert_eq!(read(&["names[1]", "data[1]"], &[]), ["Length(5)", "Unsigned(98)", "Length(2)", "Bytes([121])"]);
    assert_eq!(read(&["data"], &[]), ["Length(5)", "Bytes([97, 98, 99, 100, 101])"]);
    assert_eq!(read(&["ticks", "last"], &["ticks[1]"]), ["Length(3)", "Signed(1)", "Signed(5)", "Signed(-2)"]);
}

/// One octet of an image is read and written without a look at the others.
#[test]
fn one_element_of_many_costs_one_round() {
    const COUNT: usize = 6_000_000;
    let quickest = |work: &mut dyn FnMut()| {
        let times = std::iter::repeat_with(|| {
            let start = std::time::Instant::now();
            work();
            start.elapsed()
        });
        times.take(5).min()
    };
    let mut cdr = b"\0\x01\0\0".to_vec();
    cdr.extend((COUNT as u32).to_le_bytes());
    cdr.resize(cdr.len() + COUNT, 7);
    let schema = schema([sequence("data", Kind::U8, None)]);
    let decoder = Decoder::select(schema, &selection(&["data[5999999]"], &[])).unwrap();
    let each = quickest(&mut || {
        std::hint::black_box(cdr.iter().fold(0u64, |sum, octet| std::hint::black_box(sum + u64::from(*octet))));
    });
    let read = quickest(&mut || {
        let mut values = Vec::new();
        decoder.read_values(&cdr, |value| values.push(value)).unwrap();
        assert_eq!(values, [Value::Length(COUNT), Value::Unsigned(7)]);
    });
    let written = quickest(&mut || {
        let mut out = JsonBuffer::new(1000);
        decoder.write_json(&cdr, &mut out).unwrap();
        assert_eq!(out.as_bytes(), br#"{"data":"Bw=="}"#);
    });
    assert!(read < each && written < each, "{read:?} and {written:?}, {each:?} for a look at each");
}

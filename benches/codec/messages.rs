//! The messages of the benchmark, with contents as a driving robot has them.

use std::sync::Arc;

use iot_bridge_core::codec::Schema;

use crate::encode::Value;
use crate::schemas;

/// Title, type and content of each message.
pub fn all() -> Vec<(&'static str, Arc<Schema>, Vec<Value>)> {
    vec![
        ("Odometry", schemas::odometry(), odometry()),
        ("LaserScan, 2160 ranges", schemas::laser_scan(), laser_scan()),
        ("String, 200 bytes", schemas::string(), string()),
        ("JointState, 12 joints", schemas::joint_state(), joint_state()),
        ("PointCloud2, 64 KiB", schemas::point_cloud(), point_cloud()),
    ]
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn float(value: f32) -> Value {
    Value::F32(value.to_bits())
}

fn double(value: f64) -> Value {
    Value::F64(value.to_bits())
}

fn doubles(values: impl IntoIterator<Item = f64>) -> Value {
    Value::List(values.into_iter().map(double).collect())
}

fn message_of(values: impl IntoIterator<Item = f64>) -> Value {
    Value::Message(values.into_iter().map(double).collect())
}

fn header(frame: &str) -> Value {
    let stamp = Value::Message(vec![Value::Signed(1_732_255_123), Value::Unsigned(481_920_337)]);
    Value::Message(vec![stamp, text(frame)])
}

/// 6 by 6, filled on the diagonal, as wheel odometry reports it.
fn covariance() -> Value {
    doubles((0..36).map(|index| if index % 7 == 0 { 1e-3 * (1.0 + f64::from(index)) } else { 0.0 }))
}

fn odometry() -> Vec<Value> {
    let angle = 0.734_f64;
    let position = message_of([2.0 * angle.sin(), 2.0 * (1.0 - angle.cos()), 0.0]);
    let orientation = message_of([0.0, 0.0, (angle / 2.0).sin(), (angle / 2.0).cos()]);
    let pose = Value::Message(vec![position, orientation]);
    let twist = Value::Message(vec![message_of([0.5 + angle / 1e3, 0.0, 0.0]), message_of([0.0, 0.0, angle / 3.0])]);
    vec![
        header("odom"),
        text("base_link"),
        Value::Message(vec![pose, covariance()]),
        Value::Message(vec![twist, covariance()]),
    ]
}

fn laser_scan() -> Vec<Value> {
    let ranges = (0..2160_u16).map(|index| {
        let bearing = f32::from(index) * 0.002_181_662;
        // A room with a reading out of range now and then.
        if index % 97 == 0 { f32::INFINITY } else { 3.0 + bearing.sin() * 1.7 + (bearing * 57.0).cos() * 0.01 }
    });
    let mut values = vec![header("laser")];
    values.extend([-2.356_194_5, 2.356_194_5, 0.002_181_662, 1.736_111e-5, 0.05, 0.023, 60.0].map(float));
    values.push(Value::List(ranges.map(float).collect()));
    values.push(Value::List(Vec::new()));
    values
}

/// JSON in a String, as the AWS sample publishes its telemetry.
fn string() -> Vec<Value> {
    let mut telemetry = String::from(
        r#"{"timestamp": 1732255123.481, "robot": "robot1", "battery": 0.8712, "position": {"x": 1.339, "y": 0.5157}, "speed": 0.5007, "state": "driving", "errors": [], "note": ""#,
    );
    while telemetry.len() < 198 {
        telemetry.push('.');
    }
    telemetry.push_str("\"}");
    vec![text(&telemetry)]
}

fn joint_state() -> Vec<Value> {
    let joints = || (0..12).map(f64::from);
    let names = ["hip", "thigh", "calf"].iter().flat_map(|part| {
        ["front_left", "front_right", "rear_left", "rear_right"].map(|leg| text(&format!("{leg}_{part}_joint")))
    });
    vec![
        header(""),
        Value::List(names.collect()),
        doubles(joints().map(|joint| (joint * 0.61).sin())),
        doubles(joints().map(|joint| (joint * 0.61).cos() * 2.4)),
        doubles(joints().map(|joint| (joint * 1.37).sin() * 11.0)),
    ]
}

fn point_cloud() -> Vec<Value> {
    let field = |(index, name): (u64, &&str)| {
        Value::Message(vec![text(name), Value::Unsigned(4 * index), Value::Unsigned(7), Value::Unsigned(1)])
    };
    let fields = (0..).zip(&["x", "y", "z", "intensity"]).map(field).collect();
    let data = (0..16_384_u16).flat_map(|index| (f32::from(index) * 0.37).sin().to_le_bytes());
    vec![
        header("lidar"),
        Value::Unsigned(1),
        Value::Unsigned(4096),
        Value::List(fields),
        Value::Bool(false),
        Value::Unsigned(16),
        Value::Unsigned(65_536),
        Value::List(data.map(|octet| Value::Unsigned(octet.into())).collect()),
        Value::Bool(true),
    ]
}

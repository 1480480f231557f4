//! A message of each kind that a robot has.

use std::sync::Arc;

use iot_bridge_core::codec::{Count, Field, Kind, Schema};

use crate::encode::{self, Value};
use crate::{messages, schemas};

/// The messages of the benchmark, with an Imu, and a scan as they are with intensities.
pub fn all() -> Vec<(&'static str, Arc<Schema>, Vec<Value>)> {
    let mut all = messages::all();
    let scan = all.iter().position(|(_, schema, _)| schema.name == "sensor_msgs/msg/LaserScan").expect("a scan");
    all[scan] = ("LaserScan, 1080 ranges and intensities", schemas::laser_scan(), laser_scan(all[scan].2.clone()));
    all.insert(1, ("Imu", imu_schema(), imu()));
    all
}

/// The message of the type `name`, as CDR.
pub fn message(name: &str) -> (Arc<Schema>, Vec<u8>) {
    let (_, schema, values) = all().into_iter().find(|(_, schema, _)| schema.name == name).expect("it is there");
    let cdr = encode::cdr(&schema, &values, false);
    (schema, cdr)
}

/// The ranges of `values`, half of them, with as many intensities.
fn laser_scan(mut values: Vec<Value>) -> Vec<Value> {
    if let Value::List(ranges) = &mut values[8] {
        ranges.truncate(1080);
    }
    // What a scanner counts: whole numbers.
    let intensities = (0..1080_u16).map(|index| f32::from(index * 37 % 4096));
    values[9] = Value::List(intensities.map(|intensity| Value::F32(intensity.to_bits())).collect());
    values
}

fn imu_schema() -> Arc<Schema> {
    let [header, ..] = &schemas::joint_state().fields[..] else { panic!("a joint state has a header") };
    let field = |name: &str, kind, count| Field { name: name.into(), kind, count };
    let numbers = |type_name: &str, names: &[&str]| {
        let fields = names.iter().map(|name| field(name, Kind::F64, Count::One)).collect();
        Kind::Message(Arc::new(Schema { name: type_name.into(), fields }))
    };
    let vector = || numbers("geometry_msgs/msg/Vector3", &["x", "y", "z"]);
    let covariance = |name| field(name, Kind::F64, Count::Array(9));
    let orientation = numbers("geometry_msgs/msg/Quaternion", &["x", "y", "z", "w"]);
    let fields = vec![
        header.clone(),
        field("orientation", orientation, Count::One),
        covariance("orientation_covariance"),
        field("angular_velocity", vector(), Count::One),
        covariance("angular_velocity_covariance"),
        field("linear_acceleration", vector(), Count::One),
        covariance("linear_acceleration_covariance"),
    ];
    Arc::new(Schema { name: "sensor_msgs/msg/Imu".into(), fields })
}

/// A robot that turns slowly on level ground; its driver knows no orientation.
fn imu() -> Vec<Value> {
    let number = |value: f64| Value::F64(value.to_bits());
    let diagonal =
        |value: f64| Value::List((0..9).map(|index| number(if index % 4 == 0 { value } else { 0.0 })).collect());
    let vector = |values: [f64; 3]| Value::Message(values.map(number).to_vec());
    let stamp = Value::Message(vec![Value::Signed(1_732_255_123), Value::Unsigned(481_920_337)]);
    vec![
        Value::Message(vec![stamp, Value::Text("imu_link".into())]),
        Value::Message([0.0, 0.0, 0.0, 1.0].map(number).to_vec()),
        diagonal(-1.0),
        vector([0.001_065_264_5, -0.002_130_529_1, 0.131_027_541]),
        diagonal(0.000_4),
        vector([0.153_228_12, -0.038_307_03, 9.806_598_7]),
        diagonal(0.001_7),
    ]
}

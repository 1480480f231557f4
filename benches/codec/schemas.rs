//! The message types of the benchmark, as the common interfaces of ROS 2 define them.

use std::sync::Arc;

use iot_bridge_core::codec::{Count, Field, Kind, Schema};

pub const TEXT: Kind = Kind::String { bound: None };

fn schema(name: &str, fields: impl Into<Vec<Field>>) -> Arc<Schema> {
    Arc::new(Schema { name: name.into(), fields: fields.into() })
}

fn one(name: &str, kind: Kind) -> Field {
    Field { name: name.into(), kind, count: Count::One }
}

fn array(name: &str, kind: Kind, length: usize) -> Field {
    Field { name: name.into(), kind, count: Count::Array(length) }
}

fn sequence(name: &str, kind: Kind) -> Field {
    Field { name: name.into(), kind, count: Count::Sequence { bound: None } }
}

fn header() -> Field {
    let time = schema("builtin_interfaces/msg/Time", [one("sec", Kind::I32), one("nanosec", Kind::U32)]);
    let header = schema("std_msgs/msg/Header", [one("stamp", Kind::Message(time)), one("frame_id", TEXT)]);
    one("header", Kind::Message(header))
}

fn doubles(name: &str, fields: &[&str]) -> Kind {
    Kind::Message(schema(name, fields.iter().map(|field| one(field, Kind::F64)).collect::<Vec<_>>()))
}

pub fn odometry() -> Arc<Schema> {
    let pose = schema(
        "geometry_msgs/msg/Pose",
        [
            one("position", doubles("geometry_msgs/msg/Point", &["x", "y", "z"])),
            one("orientation", doubles("geometry_msgs/msg/Quaternion", &["x", "y", "z", "w"])),
        ],
    );
    let vector = || doubles("geometry_msgs/msg/Vector3", &["x", "y", "z"]);
    let twist = schema("geometry_msgs/msg/Twist", [one("linear", vector()), one("angular", vector())]);
    let with_covariance = |name, field| Kind::Message(schema(name, [field, array("covariance", Kind::F64, 36)]));
    schema(
        "nav_msgs/msg/Odometry",
        [
            header(),
            one("child_frame_id", TEXT),
            one("pose", with_covariance("geometry_msgs/msg/PoseWithCovariance", one("pose", Kind::Message(pose)))),
            one("twist", with_covariance("geometry_msgs/msg/TwistWithCovariance", one("twist", Kind::Message(twist)))),
        ],
    )
}

pub fn laser_scan() -> Arc<Schema> {
    let scalars =
        ["angle_min", "angle_max", "angle_increment", "time_increment", "scan_time", "range_min", "range_max"];
    let mut fields = vec![header()];
    fields.extend(scalars.map(|name| one(name, Kind::F32)));
    fields.push(sequence("ranges", Kind::F32));
    fields.push(sequence("intensities", Kind::F32));
    schema("sensor_msgs/msg/LaserScan", fields)
}

pub fn string() -> Arc<Schema> {
    schema("std_msgs/msg/String", [one("data", TEXT)])
}

pub fn joint_state() -> Arc<Schema> {
    schema(
        "sensor_msgs/msg/JointState",
        [
            header(),
            sequence("name", TEXT),
            sequence("position", Kind::F64),
            sequence("velocity", Kind::F64),
            sequence("effort", Kind::F64),
        ],
    )
}

pub fn point_cloud() -> Arc<Schema> {
    let field = schema(
        "sensor_msgs/msg/PointField",
        [one("name", TEXT), one("offset", Kind::U32), one("datatype", Kind::U8), one("count", Kind::U32)],
    );
    schema(
        "sensor_msgs/msg/PointCloud2",
        [
            header(),
            one("height", Kind::U32),
            one("width", Kind::U32),
            sequence("fields", Kind::Message(field)),
            one("is_bigendian", Kind::Bool),
            one("point_step", Kind::U32),
            one("row_step", Kind::U32),
            sequence("data", Kind::U8),
            one("is_dense", Kind::Bool),
        ],
    )
}

"""What the robot publishes: messages as a driving robot has them, each with a place for its number and time.

A work is a list of topics: name, type, message (as the bridge takes it from JSON: octets in base64) and share, which is
messages a second for each message a second that is asked for.
"""

import base64
import math
import struct

# Number and time, as benches/side_by_side/mark.rs writes them.
MARK = "@0000000000@00000000000000000000@"


def topic(ros, type_name, message, share=1.0):
    return {"ros": ros, "type": type_name, "message": message, "share": share}


def header():
    return {"stamp": {"sec": 1732255123, "nanosec": 481920337}, "frame_id": MARK}


def vector(x, y, z):
    return {"x": x, "y": y, "z": z}


def turned(angle):
    return {"x": 0.0, "y": 0.0, "z": math.sin(angle / 2), "w": math.cos(angle / 2)}


def diagonal(size, value):
    return [value * (1 + at / 10) if at % (size + 1) == 0 else 0.0 for at in range(size * size)]


def octets(values):
    return base64.b64encode(bytes(values)).decode()


def string(length=200):
    text = MARK + " battery 0.8712, x 1.339, y 0.5157, speed 0.5007, state driving "
    return {"data": text.ljust(length, ".")}


def odometry():
    twist = {"linear": vector(0.500734, 0.0, 0.0), "angular": vector(0.0, 0.0, 0.2446)}
    pose = {"position": vector(1.3393, 0.5157, 0.0), "orientation": turned(0.734)}
    return {
        "header": header(),
        "child_frame_id": "base_link",
        "pose": {"pose": pose, "covariance": diagonal(6, 1e-3)},
        "twist": {"twist": twist, "covariance": diagonal(6, 2e-3)},
    }


def imu():
    return {
        "header": header(),
        "orientation": turned(0.734),
        "orientation_covariance": diagonal(3, 2.5e-3),
        "angular_velocity": vector(0.00213, -0.00107, 0.24466),
        "angular_velocity_covariance": diagonal(3, 1e-4),
        "linear_acceleration": vector(0.03871, 0.12233, 9.80312),
        "linear_acceleration_covariance": diagonal(3, 4e-4),
    }


def joint_state():
    parts = [f"{leg}_{part}_joint" for part in ("hip", "thigh", "calf") for leg in ("fl", "fr", "rl", "rr")]
    each = range(len(parts))
    return {
        "header": header(),
        "name": parts,
        "position": [math.sin(joint * 0.61) for joint in each],
        "velocity": [math.cos(joint * 0.61) * 2.4 for joint in each],
        "effort": [math.sin(joint * 1.37) * 11.0 for joint in each],
    }


def laser_scan(beams=1080):
    bearings = [beam * 4.36332 / beams for beam in range(beams)]
    return {
        "header": header(),
        "angle_min": -2.18166,
        "angle_max": 2.18166,
        "angle_increment": 4.36332 / beams,
        "time_increment": 1.7361e-5,
        "scan_time": 0.025,
        "range_min": 0.023,
        "range_max": 60.0,
        "ranges": [3.0 + math.sin(b) * 1.7 + math.cos(b * 57.0) * 0.01 for b in bearings],
        "intensities": [1200.0 + 900.0 * math.sin(b * 31.0) for b in bearings],
    }


def point_cloud(points=4096):
    fields = [{"name": name, "offset": 4 * at, "datatype": 7, "count": 1} for at, name in enumerate(("x", "y", "z", "i"))]
    data = b"".join(struct.pack("<f", math.sin(at * 0.37)) for at in range(4 * points))
    return {
        "header": header(),
        "height": 1,
        "width": points,
        "fields": fields,
        "point_step": 16,
        "row_step": 16 * points,
        "data": octets(data),
        "is_dense": True,
    }


def image(width=640, height=480):
    data = bytes((at * 7 + at // width) % 251 for at in range(3 * width * height))
    return {
        "header": header(),
        "height": height,
        "width": width,
        "encoding": "rgb8",
        "step": 3 * width,
        "data": octets(data),
    }


def camera_info():
    matrix = [525.0, 0.0, 319.5, 0.0, 525.0, 239.5, 0.0, 0.0, 1.0]
    return {
        "header": header(),
        "height": 480,
        "width": 640,
        "distortion_model": "plumb_bob",
        "d": [0.0412, -0.0973, 0.00021, -0.00043, 0.0],
        "k": matrix,
        "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "p": [525.0, 0.0, 319.5, 0.0, 0.0, 525.0, 239.5, 0.0, 0.0, 0.0, 1.0, 0.0],
    }


def twist():
    return {"header": header(), "twist": {"linear": vector(0.5, 0.0, 0.0), "angular": vector(0.0, 0.0, 0.25)}}


def fix():
    place = {"latitude": 47.3977418, "longitude": 8.5455939, "altitude": 488.217}
    return {"header": header(), **place, "position_covariance": diagonal(3, 1.44), "position_covariance_type": 2}


def battery():
    return {"header": header(), "voltage": 25.31, "current": -1.5, "percentage": 0.8712, "present": True}


def diagnostics():
    values = [{"key": key, "value": value} for key, value in (("temperature", "41.2"), ("rate", "49.98"), ("errors", "0"))]
    status = [{"name": f"driver {at}", "message": "OK", "hardware_id": f"unit{at}", "values": values} for at in range(6)]
    return {"header": header(), "status": status}


def robot():
    return [
        topic("/imu", "sensor_msgs/msg/Imu", imu(), 100),
        topic("/odom", "nav_msgs/msg/Odometry", odometry(), 50),
        topic("/joint_states", "sensor_msgs/msg/JointState", joint_state(), 50),
        topic("/cmd_vel", "geometry_msgs/msg/TwistStamped", twist(), 20),
        topic("/camera_info", "sensor_msgs/msg/CameraInfo", camera_info(), 15),
        topic("/scan", "sensor_msgs/msg/LaserScan", laser_scan(), 10),
        topic("/fix", "sensor_msgs/msg/NavSatFix", fix(), 5),
        topic("/battery", "sensor_msgs/msg/BatteryState", battery(), 1),
        topic("/diagnostics_of_drivers", "diagnostic_msgs/msg/DiagnosticArray", diagnostics(), 1),
    ]


def cameras():
    """What the ordinary robot also publishes, and hardly anybody forwards: an image has more than AWS IoT Core takes."""
    return [
        topic("/points", "sensor_msgs/msg/PointCloud2", point_cloud(), 5),
        topic("/image", "sensor_msgs/msg/Image", image(), 5),
    ]


# By the names that the tables give them.
SINGLE = {
    "String, 200 B": [topic("/text", "std_msgs/msg/String", string())],
    "Odometry": [topic("/odom", "nav_msgs/msg/Odometry", odometry())],
    "Imu": [topic("/imu", "sensor_msgs/msg/Imu", imu())],
    "JointState, 12 joints": [topic("/joint_states", "sensor_msgs/msg/JointState", joint_state())],
    "LaserScan, 1080 beams": [topic("/scan", "sensor_msgs/msg/LaserScan", laser_scan())],
    "PointCloud2, 64 KiB": [topic("/points", "sensor_msgs/msg/PointCloud2", point_cloud())],
}
STRING = "String, 200 B"


def quiet_topics(count):
    """One topic of Strings that is published, and others that are not."""
    name = "/robot/part{}/state".format
    return [topic(name(at), "std_msgs/msg/String", string(), 1.0 if at == 0 else 0.0) for at in range(count)]

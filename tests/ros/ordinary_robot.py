#!/usr/bin/env python3
"""Publishes what an ordinary robot does: the eleven topics of docs/recipes.md, some 250 messages a second.

The robot drives in a room: its IMU, its joints and its laser scanner have noise in all digits, covariances are zeros but for
a few, and the camera's calibration never changes. It runs until SIGTERM. The seed is fixed.
"""

import array
import math
import random
import signal
import sys
import time

import rclpy
import rclpy.signals
from geometry_msgs.msg import PoseWithCovarianceStamped, Twist
from nav_msgs.msg import Odometry
from sensor_msgs.msg import BatteryState, CameraInfo, Imu, JointState, LaserScan, NavSatFix, Temperature
from std_msgs.msg import String

RANDOM = random.Random(1)
JOINTS = [f"arm_{side}_joint_{number}" for side in ("left", "right") for number in range(1, 7)]
BEAMS = 360


def noise(width):
    return RANDOM.gauss(0, width)


def heading(seconds):
    return 0.3 * seconds


def turned(orientation, seconds):
    orientation.z, orientation.w = math.sin(heading(seconds) / 2), math.cos(heading(seconds) / 2)


def placed(position, seconds):
    position.x, position.y = 2 * math.sin(heading(seconds)), -2 * math.cos(heading(seconds))


def imu(message, seconds):
    message.header.frame_id = "imu_link"
    turned(message.orientation, seconds)
    for vector, width, gravity in ((message.angular_velocity, 0.01, 0), (message.linear_acceleration, 0.1, 9.81)):
        vector.x, vector.y, vector.z = noise(width), noise(width), gravity + noise(width)


def odometry(message, seconds):
    message.header.frame_id, message.child_frame_id = "odom", "base_link"
    placed(message.pose.pose.position, seconds)
    turned(message.pose.pose.orientation, seconds)
    message.twist.twist.linear.x, message.twist.twist.angular.z = 0.6 + noise(0.01), 0.3 + noise(0.01)


def joints(message, _):
    message.header.frame_id, message.name = "base_link", JOINTS
    message.position = [noise(1) for _ in JOINTS]
    message.velocity = [noise(1) for _ in JOINTS]
    message.effort = [noise(5) for _ in JOINTS]


def command(message, seconds):
    message.linear.x, message.angular.z = 0.6, 0.3 if int(seconds) % 10 < 8 else 0.0


def camera(message, _):
    message.header.frame_id = "camera_optical_frame"
    message.height, message.width, message.distortion_model = 720, 1280, "plumb_bob"
    message.d = [-0.0421, 0.0312, 0.0007, -0.0003, 0.0]
    message.k = [911.24, 0.0, 640.5, 0.0, 911.31, 360.5, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [911.24, 0.0, 640.5, 0.0, 0.0, 911.31, 360.5, 0.0, 0.0, 0.0, 1.0, 0.0]


def scan(message, seconds):
    message.header.frame_id = "laser"
    message.angle_min, message.angle_max, message.angle_increment = -math.pi, math.pi, 2 * math.pi / BEAMS
    message.scan_time, message.range_min, message.range_max = 0.1, 0.1, 25.0
    # The walls of a room of 8 m by 6 m.
    angles = (2 * math.pi * beam / BEAMS + heading(seconds) for beam in range(BEAMS))
    walls = (min(4 / max(abs(math.cos(angle)), 1e-3), 3 / max(abs(math.sin(angle)), 1e-3)) for angle in angles)
    message.ranges = array.array("f", (wall + noise(0.01) for wall in walls))


def pose(message, seconds):
    message.header.frame_id = "map"
    placed(message.pose.pose.position, seconds)
    turned(message.pose.pose.orientation, seconds)
    for at, variance in ((0, 0.25), (7, 0.25), (35, 0.0685)):
        message.pose.covariance[at] = variance


def fix(message, _):
    message.header.frame_id = "gps"
    message.latitude, message.longitude = 48.137 + noise(1e-6), 11.575 + noise(1e-6)
    message.altitude = 519 + noise(0.5)
    for at in (0, 4, 8):
        message.position_covariance[at] = 2.25
    message.position_covariance_type = 2


def battery(message, seconds):
    message.voltage, message.current = 25.2 - seconds / 3600 + noise(0.005), -2.1 + noise(0.05)
    message.charge = message.capacity = message.temperature = math.nan
    message.design_capacity, message.percentage, message.present = 20.0, 0.87, True
    message.cell_voltage = array.array("f", (4.2 + noise(0.005) for _ in range(6)))


def temperature(message, _):
    message.header.frame_id, message.temperature = "base_link", 41.5 + noise(0.1)


def text(message, seconds):
    message.data = f"driving, {seconds:.0f} s since the start"


TOPICS = [
    ("/imu", Imu, 100, imu),
    ("/odom", Odometry, 50, odometry),
    ("/joint_states", JointState, 50, joints),
    ("/cmd_vel", Twist, 20, command),
    ("/camera_info", CameraInfo, 15, camera),
    ("/scan", LaserScan, 10, scan),
    ("/pose", PoseWithCovarianceStamped, 1, pose),
    ("/fix", NavSatFix, 1, fix),
    ("/battery", BatteryState, 1, battery),
    ("/temperature", Temperature, 1, temperature),
    ("/status_text", String, 1, text),
]


def publish_all(node):
    streams = [(node.create_publisher(kind, name, 10), kind, hz, fill) for name, kind, hz, fill in TOPICS]
    sent = [0] * len(streams)
    start = time.monotonic()
    while True:
        seconds = time.monotonic() - start
        for at, (publisher, kind, hz, fill) in enumerate(streams):
            while sent[at] <= seconds * hz:
                message = kind()
                fill(message, seconds)
                if hasattr(message, "header"):
                    message.header.stamp = node.get_clock().now().to_msg()
                publisher.publish(message)
                sent[at] += 1
        next_due = min(count / hz for count, (_, _, hz, _) in zip(sent, streams))
        time.sleep(max(0, start + next_due - time.monotonic()))


rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
robot = rclpy.create_node("ordinary_robot", enable_rosout=False, start_parameter_services=False)
try:
    publish_all(robot)
finally:
    robot.destroy_node()
    rclpy.shutdown()

#!/usr/bin/env python3
"""The demo's robot: drives in a circle, publishing /odom at 10 Hz and /battery at 1 Hz."""

import math

import rclpy
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import BatteryState

SPEED = 0.5  # m/s
RADIUS = 2.0  # m


class Robot(Node):
    def __init__(self):
        super().__init__("demo_robot")
        self.odom = self.create_publisher(Odometry, "/odom", 10)
        self.battery = self.create_publisher(BatteryState, "/battery", 10)
        self.started = self.get_clock().now()
        self.create_timer(0.1, self.publish_odom)
        self.create_timer(1.0, self.publish_battery)

    def seconds(self):
        return (self.get_clock().now() - self.started).nanoseconds / 1e9

    def publish_odom(self):
        angle = self.seconds() * SPEED / RADIUS
        message = Odometry()
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = "odom"
        message.child_frame_id = "base_link"
        message.pose.pose.position.x = RADIUS * math.sin(angle)
        message.pose.pose.position.y = RADIUS * (1 - math.cos(angle))
        message.pose.pose.orientation.z = math.sin(angle / 2)
        message.pose.pose.orientation.w = math.cos(angle / 2)
        message.twist.twist.linear.x = SPEED
        message.twist.twist.angular.z = SPEED / RADIUS
        self.odom.publish(message)

    def publish_battery(self):
        message = BatteryState()
        message.header.stamp = self.get_clock().now().to_msg()
        message.percentage = max(0.0, 0.87 - self.seconds() / 3600)
        message.voltage = 22.0 + 4.0 * message.percentage
        message.current = -1.5
        message.temperature = math.nan  # this battery has no thermometer
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
        message.present = True
        self.battery.publish(message)


def main():
    try:
        rclpy.init()
        rclpy.spin(Robot())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


if __name__ == "__main__":
    main()

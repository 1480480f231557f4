"""Prints each message of /diagnostics as one line of JSON, as rclpy understands it."""

import json

import rclpy
from diagnostic_msgs.msg import DiagnosticArray


def show(array):
    statuses = [
        {
            "level": status.level[0],
            "name": status.name,
            "message": status.message,
            "hardware_id": status.hardware_id,
            "values": {value.key: value.value for value in status.values},
        }
        for status in array.status
    ]
    print(json.dumps({"sec": array.header.stamp.sec, "statuses": statuses}), flush=True)


rclpy.init()
node = rclpy.create_node("diagnostics_listener")
node.create_subscription(DiagnosticArray, "/diagnostics", show, 10)
try:
    rclpy.spin(node)
except KeyboardInterrupt:
    pass

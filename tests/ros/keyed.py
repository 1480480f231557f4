"""Publishes test_msgs/msg/KeyedLong on /keyed, as the lines of its standard input say, and answers each with "done".

    burst N    N messages over five keys; `value` counts all that were published
    weak       a second publisher there, which offers no more than best effort, and publishes nothing
    strong     the second publisher goes
"""

import sys

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from test_msgs.msg import KeyedLong

rclpy.init()
node = rclpy.create_node("keyed")
publisher = node.create_publisher(KeyedLong, "/keyed", QoSProfile(depth=1000))
weak = None
count = 0
for line in sys.stdin:
    match line.split():
        case ["burst", number]:
            for _ in range(int(number)):
                publisher.publish(KeyedLong(key=count % 5, value=count))
                count += 1
        case ["weak"]:
            weak = node.create_publisher(
                KeyedLong, "/keyed", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
            )
        case ["strong"]:
            node.destroy_publisher(weak)
    print("done", flush=True)
rclpy.shutdown()

"""A server of /fibonacci (test_msgs/action/Fibonacci) for tests/requests_actions.rs.

Each number takes 20 ms. A negative order is rejected. Once the sequence has ten numbers, an odd order is aborted.
"""

import os
import time

import rclpy
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from test_msgs.action import Fibonacci

# What it does not cancel.
STUBBORN = 30


def execute(goal):
    sequence = [0, 1]
    while len(sequence) < goal.request.order:
        time.sleep(0.02)
        if goal.is_cancel_requested:
            goal.canceled()
            return Fibonacci.Result(sequence=sequence)
        sequence.append((sequence[-1] + sequence[-2]) % 1_000_000_007)
        goal.publish_feedback(Fibonacci.Feedback(sequence=sequence))
        if len(sequence) == 10 and goal.request.order % 2 == 1:
            goal.abort()
            return Fibonacci.Result(sequence=sequence)
    goal.succeed()
    return Fibonacci.Result(sequence=sequence)


def main():
    rclpy.init()
    node = rclpy.create_node("fibonacci")
    _server = ActionServer(
        node,
        Fibonacci,
        "/fibonacci",
        execute,
        goal_callback=lambda goal: GoalResponse.REJECT if goal.order < 0 else GoalResponse.ACCEPT,
        cancel_callback=lambda goal: (
            CancelResponse.REJECT if goal.request.order == STUBBORN else CancelResponse.ACCEPT
        ),
        callback_group=ReentrantCallbackGroup(),
    )
    executor = MultiThreadedExecutor(8)
    try:
        rclpy.spin(node, executor)
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        # Goals that sleep would keep the process.
        _server.destroy()
        node.destroy_node()
        rclpy.try_shutdown()
        os._exit(0)


main()

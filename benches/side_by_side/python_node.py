#!/usr/bin/env python3
"""A node as people write it in Python: rclpy and the AWS IoT Device SDK; a QoS 1 publish for each message.

It is measured beside the bridge, and is not tuned. Its argument is a plan, as the other parts get it; with --log it
also logs each message, as examples do.
"""

import importlib
import json
import sys

import rclpy
from awscrt import mqtt
from awsiot import mqtt_connection_builder
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node


def to_plain(value):
    """A message as dictionaries, lists and numbers, which json can write."""
    if hasattr(value, "get_fields_and_field_types"):
        return {name: to_plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [to_plain(element) for element in value]
    return list(value) if isinstance(value, bytes) else value


class Forwarder(Node):
    def __init__(self, plan, log):
        super().__init__("python_node")
        broker, self.log = plan["broker"], log
        self.connection = mqtt_connection_builder.mtls_from_path(
            endpoint="localhost",
            port=broker["port"],
            cert_filepath=broker["tls"]["certificate"],
            pri_key_filepath=broker["tls"]["private_key"],
            ca_filepath=broker["tls"]["ca"],
            client_id=broker["client_id"],
            clean_session=False,
            keep_alive_secs=30,
        )
        self.connection.connect().result()
        for topic in plan["topics"]:
            package, _, name = topic["type"].split("/")
            message_type = getattr(importlib.import_module(f"{package}.msg"), name)
            mqtt_topic = broker["client_id"] + topic["ros"]
            self.create_subscription(
                message_type, topic["ros"], lambda message, to=mqtt_topic: self.forward(to, message), 10
            )

    def forward(self, topic, message):
        payload = json.dumps(to_plain(message))
        if self.log:
            self.get_logger().info(f"Publishing to {topic}: {payload}")
        self.connection.publish(topic=topic, payload=payload, qos=mqtt.QoS.AT_LEAST_ONCE)


def main(forwarder=Forwarder):
    with open(sys.argv[1]) as file:
        plan = json.load(file)
    rclpy.init()
    node = forwarder(plan, "--log" in sys.argv)
    print('"ready"', flush=True)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    node.connection.disconnect().result()


if __name__ == "__main__":
    main()

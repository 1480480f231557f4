"""Servers for tests/requests_services.rs, on the node /servers, which has the parameter max_speed."""

import os

import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.qos import QoSProfile
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger
from test_msgs.srv import Arrays

# So many calls are gathered before the first is answered.
GATHERED = 20

gathered = []


def set_bool(request, response):
    response.success, response.message = request.data, "on" if request.data else "off"
    return response


def arrays(request, response):
    for field in request.get_fields_and_field_types():
        setattr(response, field, getattr(request, field))
    response.string_values = [text.upper() for text in request.string_values]
    return response


async def gather(request, response):
    future = Future()
    gathered.append(future)
    response.success, response.message = request.data, str(len(gathered))
    if len(gathered) == GATHERED:
        for other in reversed(gathered):
            other.set_result(None)
    await future
    return response


async def never(_request, response):
    await Future()
    return response


def vanish(_request, _response):
    os._exit(0)


def large(_request, response):
    response.message = "x" * (1 << 17)
    return response


def main():
    rclpy.init()
    node = rclpy.create_node("servers")
    node.declare_parameter("max_speed", 0.5)
    beside = {"callback_group": ReentrantCallbackGroup(), "qos_profile": QoSProfile(depth=100)}
    _servers = [
        node.create_service(SetBool, "/set_bool", set_bool),
        node.create_service(Arrays, "/arrays", arrays),
        node.create_service(SetBool, "/gather", gather, **beside),
        node.create_service(Trigger, "/never", never, **beside),
        node.create_service(Trigger, "/vanish", vanish),
        node.create_service(Trigger, "/large", large),
    ]
    rclpy.spin(node)


main()

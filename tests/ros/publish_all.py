#!/usr/bin/env python3
"""Publishes messages of many types with hard content, and says what a subscriber has to make of them.

    publish_all.py [--seed N] [--count N] PACKAGE_OR_TYPE...
    publish_all.py --all-installed
    publish_all.py --list PACKAGE_OR_TYPE...
    publish_all.py --hold
    publish_all.py --subscribe PACKAGE_OR_TYPE...

For every message type of the packages it publishes `--count` messages on `/all/<package>/<Type>`, reliable and
transient local, so that a subscriber that comes later gets them too: first a message of defaults, then one of
extremes, then random ones. For each it prints a line of JSON:

    {"topic": "/all/std_msgs/String", "type": "std_msgs/msg/String", "n": 0, "expected": {"data": ""}}

`expected` follows the rules of the bridge's `message` payload, made from the object that rclpy holds: NaN and infinities
are null, `uint8[]` and `byte[]` are base64 text, a float32 has the shortest digits that read back as that float32.
Then it waits until its standard input is closed, and ends. The seed stands on standard error.

`--list` prints {"topic", "type"} for each type instead, and needs no ROS graph. `--hold` reads lines of
{"type", "cdr": hexadecimal} and prints {"type", "expected"} for each: what rclpy holds of the serialized message, with "nan", "inf"
and "-inf" instead of null. `--subscribe` prints the same of each message that comes on `/held/<package>/<Type>`, until its standard
input is closed.
"""

import argparse
import array
import base64
import importlib
import json
import math
import random
import sys

import numpy
from ament_index_python import get_resource, get_resources
from rosidl_parser.definition import (
    AbstractString,
    AbstractWString,
    Array,
    BasicType,
    BoundedSequence,
    BoundedString,
    BoundedWString,
    NamespacedType,
    UnboundedSequence,
)

INTEGERS = {f"{sign}int{bits}": (sign, bits) for sign in ("", "u") for bits in (8, 16, 32, 64)}
# rclpy refuses a float32 over 3.402823466e+38, which is a little less than the largest there is.
LARGEST_FLOAT = float(numpy.nextafter(numpy.finfo(numpy.float32).max, numpy.float32(0)))
EXTREME_FLOATS = {
    "float": [math.nan, math.inf, -math.inf, LARGEST_FLOAT, -LARGEST_FLOAT, 1e-45, 1.1754944e-38, 0.1, 16777216.0, -0.0],
    "double": [
        math.nan,
        math.inf,
        -math.inf,
        sys.float_info.max,
        -sys.float_info.max,
        5e-324,
        sys.float_info.min,
        0.1,
        1e21,
        1e-7,
        9007199254740993.0,
        -0.0,
    ],
}
# No NUL: a C string ends there.
ASCII = [chr(code) for code in range(1, 128)]
HARD = list("\"\\/\b\f\n\r\t\x01\x1f\x7f{}[]:,'<&>\u2028\u2029éßЖ中\ufeff\ufffd\uffff😀🤖\U0010ffff")


class Maker:
    """Builds messages of any type from one source of randomness."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def message(self, cls, extreme, depth=0):
        message = cls()
        for name, slot in zip(message.get_fields_and_field_types(), message.SLOT_TYPES):
            setattr(message, name, self.value(slot, extreme, depth))
        return message

    def value(self, slot, extreme, depth):
        if isinstance(slot, (Array, BoundedSequence, UnboundedSequence)):
            return self.values(slot, extreme, depth)
        if isinstance(slot, NamespacedType):
            return self.message(message_class("/".join([*slot.namespaces, slot.name])), extreme, depth + 1)
        if isinstance(slot, AbstractString):
            limit = slot.maximum_size if isinstance(slot, BoundedString) else None
            return self.text(limit, lambda character: len(character.encode()), extreme)
        if isinstance(slot, AbstractWString):
            limit = slot.maximum_size if isinstance(slot, BoundedWString) else None
            # rclpy takes U+FEFF off the start of a wstring that it reads.
            return self.text(limit, lambda character: len(character.encode("utf-16-le")) // 2, extreme).lstrip("\ufeff")
        assert isinstance(slot, BasicType), slot
        return self.basic(slot.typename, extreme)

    def values(self, slot, extreme, depth):
        if isinstance(slot, Array):
            length = slot.size
        elif isinstance(slot, BoundedSequence):
            length = slot.maximum_size if extreme else self.random.randint(0, slot.maximum_size)
        else:
            most = 7 if depth == 0 else 2
            length = most if extreme else self.random.choice([0, self.random.randint(0, most)])
        if depth > 0 and not isinstance(slot, Array):
            length = min(length, 2)
        made = [self.value(slot.value_type, extreme, depth) for _ in range(length)]
        kind = getattr(slot.value_type, "typename", None)
        if kind == "float":
            return numpy.array(made, numpy.float32) if isinstance(slot, Array) else array.array("f", made)
        return made

    def basic(self, kind, extreme):
        if kind == "boolean":
            return self.random.random() < 0.5
        if kind == "octet":
            return bytes([self.random.choice([0, 255]) if extreme else self.random.randint(0, 255)])
        if kind in EXTREME_FLOATS:
            value = self.random.choice(EXTREME_FLOATS[kind]) if extreme else self.finite(kind)
            return float(numpy.float32(value)) if kind == "float" else value
        sign, bits = INTEGERS[kind]
        lowest, highest = (0, 2**bits - 1) if sign == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return self.random.choice([lowest, highest]) if extreme else self.random.randint(lowest, highest)

    def finite(self, kind):
        exponent = self.random.randint(-37, 37) if kind == "float" else self.random.randint(-300, 300)
        return self.random.choice([self.random.uniform(-1, 1) * 10.0**exponent, self.random.randint(-1000, 1000) / 8])

    def text(self, limit, width, extreme):
        """Text of at most `limit` units, where `width` tells how many units a character takes."""
        alphabet = HARD if extreme else ASCII + HARD
        wanted = self.random.randint(8, 16) if extreme else self.random.choice([0, self.random.randint(1, 24)])
        left = limit if limit is not None else sys.maxsize
        text = []
        for character in self.random.choices(alphabet, k=min(wanted, left)):
            if width(character) <= left:
                left -= width(character)
                text.append(character)
        return "".join(text)


def expected(value, slot, not_finite=lambda value: None):
    """The JSON value that a subscriber has to make of `value`, a field of type `slot`; of NaN and infinities, `not_finite` makes it."""
    if isinstance(slot, (Array, BoundedSequence, UnboundedSequence)):
        kind = getattr(slot.value_type, "typename", None)
        if kind == "octet":
            return base64.b64encode(b"".join(value)).decode()
        if kind == "uint8":
            return base64.b64encode(bytes(value)).decode()
        return [expected(item, slot.value_type, not_finite) for item in value]
    if isinstance(slot, NamespacedType):
        return expected_message(value, not_finite)
    if isinstance(slot, BasicType):
        if slot.typename == "octet":
            return value[0]
        if slot.typename in EXTREME_FLOATS and not math.isfinite(value):
            return not_finite(float(value))
        if slot.typename == "float":
            # The text of a float32 has its shortest digits; a Python float of it would show those of a float64.
            return float(str(numpy.float32(value)))
        if slot.typename == "double":
            return float(value)
        return bool(value) if slot.typename == "boolean" else int(value)
    return value


def expected_message(message, not_finite=lambda value: None):
    return {
        name: expected(getattr(message, name), slot, not_finite)
        for name, slot in zip(message.get_fields_and_field_types(), message.SLOT_TYPES)
    }


def held(type_name, message):
    """A line about what rclpy holds, in which each value is told apart from each other."""
    return json.dumps({"type": type_name, "expected": expected_message(message, str)}, allow_nan=False)


def message_class(type_name):
    package, _, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def message_types(package_or_type):
    if "/" in package_or_type:
        return [package_or_type]
    interfaces, _ = get_resource("rosidl_interfaces", package_or_type)
    names = {line.split("/")[1].rsplit(".", 1)[0] for line in interfaces.split() if line.startswith("msg/")}
    return [f"{package_or_type}/msg/{name}" for name in sorted(names)]


def topic_of(type_name, root="all"):
    package, _, name = type_name.split("/")
    return f"/{root}/{package}/{name}"


def publish(types, seed, count):
    import rclpy
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    qos = QoSProfile(depth=count, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    maker = Maker(seed)
    rclpy.init()
    node = rclpy.create_node("publish_all")
    publishers = []
    for type_name in types:
        cls = message_class(type_name)
        publisher = node.create_publisher(cls, topic_of(type_name), qos)
        publishers.append(publisher)
        for n in range(count):
            message = cls() if n == 0 else maker.message(cls, extreme=n == 1)
            publisher.publish(message)
            line = {"topic": topic_of(type_name), "type": type_name, "n": n, "expected": expected_message(message)}
            print(json.dumps(line, allow_nan=False), flush=True)
    sys.stdin.read()
    node.destroy_node()
    rclpy.try_shutdown()


def hold():
    from rclpy.serialization import deserialize_message

    for line in sys.stdin:
        serialized = json.loads(line)
        message = deserialize_message(bytes.fromhex(serialized["cdr"]), message_class(serialized["type"]))
        print(held(serialized["type"], message))


def subscribe(types):
    import threading

    import rclpy
    from rclpy.executors import ExternalShutdownException

    rclpy.init()
    node = rclpy.create_node("subscribe_all")

    def told(type_name):
        def tell(message):
            print(held(type_name, message), flush=True)

        return tell

    for type_name in types:
        node.create_subscription(message_class(type_name), topic_of(type_name, "held"), told(type_name), 100)
    threading.Thread(target=lambda: (sys.stdin.read(), rclpy.try_shutdown()), daemon=True).start()
    try:
        rclpy.spin(node)
    except ExternalShutdownException:
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("types", nargs="*", metavar="PACKAGE_OR_TYPE", help="std_msgs, or std_msgs/msg/String")
    parser.add_argument("--all-installed", action="store_true", help="every package of the ament index")
    parser.add_argument("--list", action="store_true", help="print topics and types, publish nothing")
    parser.add_argument("--hold", action="store_true", help="print what rclpy holds of serialized messages")
    parser.add_argument("--subscribe", action="store_true", help="print what rclpy holds of messages that come")
    parser.add_argument("--seed", type=int, default=None, help="of the random content; default: another one each time")
    parser.add_argument("--count", type=int, default=3, help="messages a type (default: 3)")
    arguments = parser.parse_args()

    if arguments.hold:
        hold()
        return
    packages = sorted(get_resources("rosidl_interfaces")) if arguments.all_installed else arguments.types
    if not packages:
        parser.error("name packages or types, or say --all-installed")
    types = [type_name for package in packages for type_name in message_types(package)]
    if arguments.list:
        for type_name in types:
            print(json.dumps({"topic": topic_of(type_name), "type": type_name}))
        return
    if arguments.subscribe:
        subscribe(types)
        return
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"publish_all: seed {seed}", file=sys.stderr, flush=True)
    publish(types, seed, arguments.count)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes messages as rclpy serializes them, each with the JSON that it should become: tests/codec/vectors.json.

    vectors.py                    a message of each type of test_msgs but MultiNested, and a few of the common interfaces
    vectors.py --all COUNT SEED   COUNT messages of each type of every package, for a wider run

Contents are random, by seed. Needs a sourced ROS. The tests read the file; they do not need this program.
"""
import base64, importlib, json, math, pkgutil, random, string, struct, sys

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message

COMMON = ["nav_msgs/Odometry", "sensor_msgs/JointState", "sensor_msgs/PointCloud2", "sensor_msgs/NavSatFix",
          "diagnostic_msgs/DiagnosticArray", "std_msgs/Empty", "std_msgs/Char", "std_msgs/Byte"]
PACKAGES = ["std_msgs", "geometry_msgs", "nav_msgs", "sensor_msgs", "diagnostic_msgs", "shape_msgs", "stereo_msgs",
            "trajectory_msgs", "visualization_msgs", "actionlib_msgs", "builtin_interfaces", "rcl_interfaces",
            "unique_identifier_msgs", "action_msgs", "test_msgs"]
INTEGERS = {f"{sign}int{bits}": (0 if sign else -2 ** (bits - 1), 2 ** (bits if sign else bits - 1) - 1)
            for sign in ("", "u") for bits in (8, 16, 32, 64)}
LETTERS = string.ascii_letters + '"\\/\n\t\r\x08\x0c\x1b äöλ語\u2028\U0001F600'

types = {}


def load(name):
    package, message = name.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), message)


def learn(name):
    """Notes the fields of a type and of the types in it."""
    if name in types:
        return
    fields = load(name).get_fields_and_field_types()
    types[name] = [[field, kind] for field, kind in fields.items()]
    for kind in fields.values():
        inner = split(kind)[0]
        if "/" in inner:
            learn(inner)


def split(kind):
    """(type of the elements, None | ("array", n) | ("sequence", bound or None))"""
    if kind.endswith("]"):
        inner, count = kind[:-1].rsplit("[", 1)
        return inner, ("array", int(count))
    if kind.startswith("sequence<"):
        inner, _, bound = kind[len("sequence<"):-1].partition(", ")
        return inner, ("sequence", int(bound) if bound else None)
    return kind, None


def content(kind):
    """A random value as rclpy wants it, and as JSON."""
    if "/" in kind:
        return message(kind)
    if kind == "boolean":
        value = random.random() < 0.5
        return value, value
    if kind == "octet":
        value = random.randrange(256)
        return bytes([value]), value
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        value = random.choice([low, high, 0, random.randint(low, high), random.randint(low, high)])
        return value, value
    if kind in ("float", "double"):
        code, size = {"float": ("f", 4), "double": ("d", 8)}[kind]
        value = struct.unpack(code, random.randbytes(size))[0]
        value = random.choice([value, value, 0.0, -0.0, 0.1, 1e16, math.nan, math.inf, -math.inf])
        if kind == "float":
            value = float(np.float32(value))
        if not math.isfinite(value):
            return value, None
        return value, float(str(np.float32(value))) if kind == "float" else value
    bound = int(kind.split("<")[1][:-1]) if "<" in kind else 12
    value = "".join(random.choices(LETTERS, k=random.randint(0, bound)))
    return value, value


def field(kind):
    inner, many = split(kind)
    if not many:
        return content(inner)
    shape, limit = many
    count = limit if shape == "array" else random.randint(0, 4 if limit is None else min(limit, 4))
    values, texts = zip(*(content(inner) for _ in range(count))) if count else ((), ())
    if inner in ("octet", "uint8"):
        texts = base64.b64encode(bytes(texts)).decode()
    return list(values), texts if isinstance(texts, str) else list(texts)


def message(name):
    learn(name)
    ours, text = load(name)(), {}
    for key, kind in types[name]:
        value, text[key] = field(kind)
        setattr(ours, key, value)
    return ours, text


def vector(name):
    ours, text = message(name)
    cdr = serialize_message(ours)
    deserialize_message(cdr, type(ours))
    return {"type": name, "cdr": bytes(cdr).hex(), "json": text}


def names(package):
    module = importlib.import_module(f"{package}.msg")
    return [f"{package}/{name}" for name in sorted(dir(module))
            if hasattr(getattr(module, name), "get_fields_and_field_types")]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--all"]:
        count, seed, chosen = int(sys.argv[2]), int(sys.argv[3]), [n for p in PACKAGES for n in names(p)]
    else:
        # MultiNested has nothing that the others do not have, at many times their size.
        count, seed, chosen = 1, 1, [n for n in names("test_msgs") if n != "test_msgs/MultiNested"] + COMMON
    random.seed(seed)
    vectors = [vector(name) for name in chosen for _ in range(count)]
    rows = ",\n".join(json.dumps(v, ensure_ascii=False) for v in vectors)
    kinds = ",\n".join(f"{json.dumps(name)}: {json.dumps(fields)}" for name, fields in sorted(types.items()))
    print(f'{{"types": {{\n{kinds}\n}},\n"vectors": [\n{rows}\n]}}')

"""What is measured and for how long: the whole of it, and the quick part."""

from contestants import ALL, BRIDGE, PUBLISH, PYTHON, RECEIVE, RUST

SECTIONS = ["string", "ladder", "sensors", "robot", "outage", "quotas", "topics"]

# Who and for how many seconds. An outage lasts equally long for all: how long a node is silent after it depends on that. What the
# memory of some is after a longer one stands beside.
WHOLE = {
    "rounds": 3, "idle": 1, "step": {10: 3, 100: 2, 1000: 2, 5000: 1.5},
    "ladder": [BRIDGE, PYTHON, RUST, RECEIVE], "probe": 1, "confirm": 10,
    "sensors": ["Odometry", "Imu", "JointState, 12 joints", "LaserScan, 1080 beams", "PointCloud2, 64 KiB"], "sensors_step": 2,
    "robot": [BRIDGE, PYTHON, RUST, RECEIVE, PUBLISH], "cameras": [BRIDGE, PYTHON], "recipes": 35, "robot_step": 5,
    "outage": [BRIDGE, PYTHON, RUST], "outage_s": 20, "after": 8, "long_outage": [BRIDGE], "long_outage_s": 60,
    "quotas": 10, "topics": [10, 100, 1000], "topics_step": 4,
}  # fmt: skip
QUICK = {
    "rounds": 1, "idle": 1, "step": {10: 2, 100: 2, 1000: 2, 5000: 1.5},
    "ladder": [BRIDGE, PYTHON, RECEIVE], "probe": 1, "confirm": 3,
    "sensors": [], "sensors_step": 1,
    "robot": [BRIDGE, PYTHON], "cameras": [], "recipes": 0, "robot_step": 4,
    "outage": [BRIDGE, PYTHON], "outage_s": 6, "after": 5, "long_outage": [], "long_outage_s": 0,
    "quotas": 0, "topics": [], "topics_step": 1,
}  # fmt: skip

# Who is compared in other messages than Strings.
OF_SENSORS = [BRIDGE, PYTHON, RECEIVE, PUBLISH]
# Messages a second at which other messages are measured: what sensors do, and more.
WORK_RATES = {"LaserScan, 1080 beams": (10, 100), "PointCloud2, 64 KiB": (10, 50)}
ORDINARY_RATES = (100, 1000)

# Lines beside `ros` and `mqtt`, with AWS IoT Core's quotas, and where the climb begins.
QUOTAS = {
    "two lines": ("", 60),
    "`batch = { max = 100 }`": ("batch = { max = 100 }", 1000),
    "`batch = { max = 1000 }`, zstd": ('batch = { max = 1000 }\ncompression = "zstd"', 2000),
}


def is_measured(section, times):
    """Whether a run of such times measures anything of a section."""
    return bool(times[section] if section in ("sensors", "quotas", "topics") else True)


# On a quiet machine: seconds that a start, the first message and the end take; attempts of a ladder, and what each takes
# besides, because a failed one waits until nothing comes.
START, PROBES, WAIT = 4.5, 9, 0.4


def seconds_of(section, times):
    """About how long it takes on a quiet machine, with everybody there."""
    probe = times["probe"] + WAIT
    # A rate is confirmed at the second attempt, as a rule.
    climb = lambda probe, confirm: START + PROBES * probe + 2 * (confirm + WAIT)
    match section:
        case "string":
            lives = times["rounds"] * (len(ALL) - 1) + 1
            return lives * (START + times["idle"] + sum(times["step"].values()) + 2 * WAIT)
        case "ladder":
            return len(times["ladder"]) * climb(probe, times["confirm"])
        case "sensors":
            return len(times["sensors"]) * len(OF_SENSORS) * (START + 1 + 2 * times["sensors_step"])
        case "robot":
            lives = len(times["robot"]) + len(times["cameras"])
            recipes = START + 1 + times["recipes"] + 1 if times["recipes"] else 0
            return lives * (START + 1 + times["robot_step"] + WAIT) + recipes
        case "outage":
            # Python's silence, and ten seconds of waiting for who has lost something.
            besides = START + 2 + times["after"] + 8
            return sum(len(times[kind]) * (besides + times[f"{kind}_s"]) for kind in ("outage", "long_outage"))
        case "quotas":
            return len(QUOTAS) * climb(2 + WAIT, times["quotas"]) if times["quotas"] else 0
        case "topics":
            return sum(2 * (START + count / 100 + min(10, 1 + count / 100) + times["idle"] + times["topics_step"]) for count in times["topics"])


def seconds(sections, times):
    return sum(seconds_of(section, times) for section in sections)

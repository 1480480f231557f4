"""Who is measured, and how each is started."""

import json
import os
import socket
import threading
import time

BRIDGE, PYTHON, PYTHON_LOG, RUST = "iot-bridge", "Python node", "Python node, logging", "Rust node"
RECEIVE, PUBLISH = "receive-only", "publish-only"
NODES = [BRIDGE, PYTHON, PYTHON_LOG, RUST]
ALL = [*NODES, RECEIVE, PUBLISH]

# What a robot's owner would write, but for the quotas, which would be what is measured.
BRIDGE_CONFIGURATION = """
[aws]
endpoint = "localhost"
port = {port}
thing = "robot1"
client_id = "{client_id}"
certificate = "{certificate}"
private_key = "{private_key}"
root_ca = "{ca}"
[queue]
directory = "{queue}"
"""
NO_QUOTAS = """
[mqtt.quotas]
publishes_per_second = "unlimited"
bytes_per_second = "unlimited"
"""
# As the unit has it, for the bridge and its floor; the nodes are started with DDS's defaults, as people start them.
WITHOUT_SHARED_MEMORY = {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}


class Contestant:
    """A contestant that runs, for `topics` of a work."""

    def __init__(self, stage, name, topics, *, port=None, configuration=None, fault=None):
        self.stage, self.name, self.topics = stage, name, topics
        self.client_id = name.replace(", ", "-").replace(" ", "-").lower()
        self.broker = stage.broker(self.client_id, port=port)
        self.plan = stage.write("plan.json", json.dumps({"topics": topics, "broker": self.broker}))
        programs, here = stage.programs, WITHOUT_SHARED_MEMORY if name in (BRIDGE, RECEIVE) else {}
        match name:
            case "iot-bridge":
                self.queue = stage.disk.resolve() / str(stage.started)
                self.queue.mkdir()
                config = stage.write("bridge.toml", self.bridge_configuration(configuration))
                command = [programs["bridge"], "run", "--config", config]
                self.runtime, self.notes = stage.directory / f"run-{stage.started}", None
                self.runtime.mkdir()
                here = here | {"RUNTIME_DIRECTORY": str(self.runtime), "NOTIFY_SOCKET": self.listen_as_systemd()}
            case "Rust node":
                command = [programs["rust_node"], self.plan]
            case "receive-only" | "publish-only":
                command = [programs["parts"], self.plan, name]
            case _:
                script = "faulty_node" if fault else "python_node"
                command = ["python3", programs[script], self.plan, *([fault] if fault else [])]
                command += ["--log"] if name == PYTHON_LOG else []
                here = {"PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{programs['awsiotsdk']}"}
        self.part = stage.start(self.client_id, command, here)
        self.pid = self.part.pid

    def bridge_configuration(self, topics):
        tls = self.broker["tls"]
        head = BRIDGE_CONFIGURATION.format(**tls, port=self.broker["port"], client_id=self.client_id, queue=self.queue)
        if topics is not None:
            return head + topics
        entry = '[[topics]]\nros = "{ros}"\nmqtt = "{client_id}{{ros}}"\n'
        return head + NO_QUOTAS + "".join(entry.format(ros=topic["ros"], client_id=self.client_id) for topic in self.topics)

    def listen_as_systemd(self):
        """The path of a socket on which READY=1 arrives."""
        path = str(self.runtime / "notify")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(path)

        def listen():
            while True:
                if b"READY=1" in listener.recv(4096):
                    self.part.said.put((time.monotonic_ns(), "ready"))
                    return

        threading.Thread(target=listen, daemon=True).start()
        return path

    def await_ready(self):
        """Seconds from its start."""
        return (self.part.await_ready() - self.part.started_at) / 1e9

    @property
    def publishes_itself(self):
        return self.name == PUBLISH

    def start_anew(self, first):
        """Has whoever keeps count of its messages forget them, and numbers below `first`."""
        (self.part if self.name == RECEIVE else self.stage.cloud).ask("fresh", **{"from": first})

    def arrived(self, latency=False):
        """What has arrived since, by ROS topic; of a receiver only how many."""
        if self.name == RECEIVE:
            return {"": {"received": self.part.ask("report", latency=False)}}
        told = self.stage.cloud.ask("report", latency=latency)
        own = f"{self.client_id}/"
        return {topic[len(own) - 1 :]: figures for topic, figures in told.items() if topic.startswith(own)}

    def end(self):
        self.part.end()
        self.stage.parts.remove(self.part)

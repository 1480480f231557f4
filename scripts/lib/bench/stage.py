"""What is around the contestants: a directory, certificates, a broker, a DDS domain."""

import fcntl
import getpass
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from parts import Part


class Stage:
    """A broker on the loopback that takes TLS clients with a certificate, and plain ones on another port: those are the
    measurement's own, which TLS would make dearer than they have to be."""

    def __init__(self, programs, disk, logs):
        self.programs = programs  # by name: parts, robot, rust_node, bridge, python_node, faulty_node
        self.logs = logs  # directory: what the processes print
        self.started, self.parts, self.mosquitto = 0, [], None
        self.directory = Path(tempfile.mkdtemp(prefix="iot-bridge-bench."))
        # For queues: the other one may be in memory.
        self.disk = Path(tempfile.mkdtemp(prefix="queues.", dir=disk))
        # They stay this stage's own until it ends.
        self.reserved = []
        try:
            self.port, self.plain_port = self.reserve(reserve_port), self.reserve(reserve_port)
            self.environment = environment(self.reserve(reserve_domain), self.directory / "ros")
            self.certify()
            self.start_broker()
            self.cloud = self.start_part("cloud", {"topics": [], "broker": self.broker("cloud", tls=False)})
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for part in reversed(self.parts):
            part.end()
        if self.mosquitto:
            self.mosquitto.terminate()
            self.mosquitto.wait()
        for reserved in self.reserved:
            reserved.close()
        for directory in self.directory, self.disk:
            shutil.rmtree(directory, ignore_errors=True)

    def reserve(self, what):
        number, reserved = what()
        self.reserved.append(reserved)
        return number

    def certify(self):
        """An authority, the broker's certificate and one for whoever publishes; RSA, as AWS IoT Core makes them."""
        openssl = lambda *arguments: subprocess.run(
            ["openssl", *arguments], cwd=self.directory, check=True, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        key = ("-newkey", "rsa:2048", "-nodes")
        openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=iot-bridge bench CA", "-keyout", "ca.key", "-out", "ca.crt")
        for name, extension in ("localhost", "subjectAltName=DNS:localhost"), ("robot1", "extendedKeyUsage=clientAuth"):
            (self.directory / "extensions").write_text(extension)
            openssl("req", "-new", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
            sign = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
            openssl(*sign, "-days", "2", "-extfile", "extensions", "-out", f"{name}.crt")
            (self.directory / f"{name}.key").chmod(0o600)

    def start_broker(self):
        at = self.directory
        settings = f"""
            user {getpass.getuser()}
            persistence false
            per_listener_settings false
            allow_anonymous true
            max_queued_messages 0
            max_inflight_messages 0
            set_tcp_nodelay true
            listener {self.plain_port} 127.0.0.1
            listener {self.port} 127.0.0.1
            cafile {at}/ca.crt
            certfile {at}/localhost.crt
            keyfile {at}/localhost.key
            require_certificate true
        """
        (at / "mosquitto.conf").write_text("".join(f"{line.strip()}\n" for line in settings.strip().splitlines()))
        program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
        with open(self.logs / "mosquitto.log", "w") as log:
            self.mosquitto = subprocess.Popen([program, "-c", at / "mosquitto.conf"], stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                if self.mosquitto.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"Mosquitto does not listen: see {self.logs}/mosquitto.log") from None
                time.sleep(0.05)

    def broker(self, client_id, port=None, tls=True):
        """How a client reaches the broker, as a plan says it."""
        files = {"ca": "ca.crt", "certificate": "robot1.crt", "private_key": "robot1.key"}
        files = {name: str(self.directory / file) for name, file in files.items()}
        port = port or (self.port if tls else self.plain_port)
        return {"port": port, "tls": files if tls else None, "client_id": client_id}

    def write(self, name, text):
        """A new file of this name, and its path."""
        self.started += 1
        path = self.directory / f"{self.started}-{name}"
        path.write_text(text)
        return path

    def start(self, name, command, environment=None):
        """Starts a process that is ended with the stage, if not before."""
        part = Part(name, command, {**self.environment, **(environment or {})}, self.logs / f"{name}.log")
        self.parts.append(part)
        return part

    def start_part(self, role, plan):
        part = self.start(role, [self.programs["parts"], self.write(f"{role}.json", json.dumps(plan)), role])
        part.await_ready()
        return part

    def start_robot(self, topics):
        plan = self.write("robot.json", json.dumps({"topics": topics, "broker": None}))
        robot = self.start("robot", [self.programs["robot"], plan])
        robot.await_ready()
        return robot


def environment(domain, ros_logs):
    """What the processes get: nothing that would change what they do, such as the user's own `IOT_BRIDGE_AWS_ENDPOINT`."""
    others = ("RUST_LOG", "NOTIFY_SOCKET", "RUNTIME_DIRECTORY")
    kept = {name: value for name, value in os.environ.items() if name not in others and not name.startswith("IOT_BRIDGE_")}
    return kept | {"ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(ros_logs)}


def reserve_port():
    """A port, and a socket that is bound to it and never listens: nobody else gets the port, and Mosquitto, which binds it with
    SO_REUSEADDR too, can listen on it."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", 0))
    return bound.getsockname()[1], bound


def reserve_domain():
    """A domain whose DDS ports (7400 + 250 × domain onwards) nobody has, and the locked file that stands for it: the one that
    tests/support/domain.rs locks, so that a test does not get the domain either."""
    taken = set()
    for table in "/proc/net/udp", "/proc/net/udp6":
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        taken |= {int(line.split()[1].rsplit(":", 1)[1], 16) for line in lines}
    free = [d for d in range(1, 102) if taken.isdisjoint(range(7400 + 250 * d, 7650 + 250 * d))]
    for domain in random.sample(free, len(free)):
        path = Path(tempfile.gettempdir()) / f"iot-bridge-test-domain-{domain}"
        try:
            # Another user's can be locked, but not written.
            file = open(path) if path.exists() else open(path, "w")
        except OSError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return domain, file
        except BlockingIOError:
            file.close()
    raise SystemExit("There is no DDS domain from 1 to 101 that nobody uses.")

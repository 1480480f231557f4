"""Processes, and how they are spoken to: a line of JSON each way."""

import json
import queue
import signal
import subprocess
import threading
import time

PATIENCE = 60  # seconds for what always comes


class Part:
    """A process. It is told things on its standard input, and says things on its standard output."""

    def __init__(self, name, command, environment, log):
        self.name = name
        self.started_at = time.monotonic_ns()
        with open(log, "a") as errors:
            self.process = subprocess.Popen(
                list(map(str, command)),
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.pid = self.process.pid
        self.said = queue.SimpleQueue()
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        for line in self.process.stdout:
            self.said.put((time.monotonic_ns(), json.loads(line)))
        self.said.put(None)

    def next(self, patience=PATIENCE):
        """When it said something, and what."""
        try:
            said = self.said.get(timeout=patience)
        except queue.Empty:
            raise TimeoutError(f"{self.name} says nothing for {patience} s") from None
        if said is None:
            raise ChildProcessError(f"{self.name} has ended with status {self.process.wait()}")
        return said

    def await_ready(self):
        """When it was, in nanoseconds."""
        at, said = self.next()
        assert said == "ready", said
        return at

    def tell(self, what, **rest):
        self.process.stdin.write(json.dumps({"do": what, **rest}) + "\n")
        self.process.stdin.flush()

    def ask(self, what, patience=PATIENCE, **rest):
        self.tell(what, **rest)
        return self.next(patience)[1]

    def publish(self, rate, seconds):
        """Has it publish, waits for the end, and returns what it has published."""
        return self.ask("publish", patience=seconds + PATIENCE, rate=rate, seconds=seconds)

    def end(self):
        """Ends it as Ctrl-C does, or harder."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

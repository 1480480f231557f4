#!/usr/bin/env python3
"""The Python node with a fault, for `scripts/bench --prove`: the figure that the fault concerns has to show it.

    faulty_node.py PLAN loses|waits|burns|hoards
"""

import os
import sys
import time

import python_node


class Faulty(python_node.Forwarder):
    messages, hoard = 0, b""

    def forward(self, topic, message):
        self.messages += 1
        match sys.argv[2]:
            case "loses" if self.messages % 100 == 0:
                return
            case "waits":
                time.sleep(0.002)
            case "burns":
                end = time.process_time_ns() + 1_000_000
                while time.process_time_ns() < end:
                    pass
            case "hoards" if self.messages == 50:
                # Pages that are alike might be shared.
                self.hoard = os.urandom(20 << 20)
        super().forward(topic, message)


if __name__ == "__main__":
    python_node.main(Faulty)

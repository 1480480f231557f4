"""What has arrived at the broker, by the sequence numbers in the envelopes.

    sequence.py last             prints the highest number, or 0
    sequence.py after N          prints the lowest number above N; fails if there is none
    sequence.py lacks N COUNT    prints how many of the COUNT numbers from N on have not arrived; fails if any has not

Reads one payload a line from standard input; what is no envelope is passed over.
"""

import json
import sys


def numbers(lines):
    for line in lines:
        try:
            yield json.loads(line)["seq"]
        except (ValueError, KeyError, TypeError):
            continue


arrived = set(numbers(sys.stdin))
match sys.argv[1:]:
    case ["last"]:
        print(max(arrived, default=0))
    case ["after", number]:
        later = [seq for seq in arrived if seq > int(number)]
        if not later:
            sys.exit(1)
        print(min(later))
    case ["lacks", first, count]:
        missing = [seq for seq in range(int(first), int(first) + int(count)) if seq not in arrived]
        print(len(missing))
        sys.exit(1 if missing else 0)
    case _:
        sys.exit(__doc__)

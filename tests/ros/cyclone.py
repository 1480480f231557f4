"""A publisher of Cyclone DDS, without any ROS: ten messages a second until it is killed.

    cyclone.py xcdr1|xcdr2|unkeyed

`xcdr1` and `xcdr2` publish std_msgs/msg/String on /text in that one data representation, `unkeyed` test_msgs/msg/KeyedLong on
/keyed as a type without keys. The domain is ROS_DOMAIN_ID; nothing leaves the loopback.
"""

import os
import sys
import time
from dataclasses import dataclass

# Before Cyclone DDS is loaded. Without multicast the peer is named, and the participant is where it looks.
os.environ["CYCLONEDDS_URI"] = """<CycloneDDS><Domain>
  <General><Interfaces><NetworkInterface address="127.0.0.1"/></Interfaces><AllowMulticast>false</AllowMulticast></General>
  <Discovery><ParticipantIndex>auto</ParticipantIndex><Peers><Peer address="127.0.0.1"/></Peers></Discovery>
</Domain></CycloneDDS>"""

from cyclonedds.core import Policy, Qos  # noqa: E402
from cyclonedds.domain import DomainParticipant  # noqa: E402
from cyclonedds.idl import IdlStruct, types  # noqa: E402
from cyclonedds.pub import DataWriter, Publisher  # noqa: E402
from cyclonedds.topic import Topic  # noqa: E402
from cyclonedds.util import duration  # noqa: E402


@dataclass
class String(IdlStruct, typename="std_msgs::msg::dds_::String_"):
    data: str


@dataclass
class KeyedLong(IdlStruct, typename="test_msgs::msg::dds_::KeyedLong_"):
    key: types.int32
    value: types.int32


def publish(name, sample, xcdr2):
    representation = Policy.DataRepresentation(
        use_cdrv0_representation=not xcdr2, use_xcdrv2_representation=xcdr2
    )
    qos = Qos(Policy.Reliability.Reliable(duration(seconds=1)), Policy.History.KeepLast(10), representation)
    participant = DomainParticipant(int(os.environ["ROS_DOMAIN_ID"]))
    writer = DataWriter(Publisher(participant), Topic(participant, f"rt/{name}", type(sample), qos=qos), qos=qos)
    while True:
        writer.write(sample)
        time.sleep(0.1)


match sys.argv[1:]:
    case ["xcdr1"]:
        publish("text", String("grüß dich"), False)
    case ["xcdr2"]:
        publish("text", String("never read"), True)
    case ["unkeyed"]:
        publish("keyed", KeyedLong(1, 2), False)

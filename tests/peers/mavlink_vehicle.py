"""An autopilot that can do nothing but talk, on pymavlink: mavlink_vehicle.py PORT [KEY]

What it hears it prints, a JSON line each. After the first heartbeat that it hears it says one message of each kind that
a vehicle says, then what nobody may take for a message, then the same kinds of frames in MAVLink 1 (where nothing is
signed), and at last a heartbeat whose custom_mode is 999."""

import json
import math
import sys
import time

import serial
from pymavlink.dialects.v20 import common as mavlink

US = (255, 191)
SINCE_1970 = 1_420_070_400
TEXT = "PreArm: this text is longer than the fifty characters of one message"

port = serial.Serial(sys.argv[1], 115200, timeout=0.02)
key = bytes.fromhex(sys.argv[2]) if len(sys.argv) > 2 else None


def speaker(link, secret):
    one = mavlink.MAVLink(port, srcSystem=1, srcComponent=1)
    one.robust_parsing = True
    if secret:
        one.signing.secret_key = secret
        one.signing.sign_outgoing = True
        one.signing.link_id = link
        one.signing.timestamp = int((time.time() - SINCE_1970) * 1e5)
    return one


vehicle = speaker(3, key)


def heartbeat(number):
    return mavlink.MAVLink_heartbeat_message(2, 3, 209, number, 4, 3)


def kinds():
    """One of each. Fields at the end that are zero are left out on the wire by MAVLink 2."""
    yield heartbeat(1)
    yield mavlink.MAVLink_sys_status_message(0x1000_0001, 3, 0x1000_0002, 0, 12600, -1, 87, 0, 0, 0, 0, 0, 0)
    yield mavlink.MAVLink_sys_status_message(1, 1, 1, 0, 65535, -1, -1, 0, 0, 0, 0, 0, 0)
    yield mavlink.MAVLink_gps_raw_int_message(0, 3, 0, 0, 0, 0, 0, 0, 0, 11)
    yield mavlink.MAVLink_global_position_int_message(0, 656170000, 221370000, 14000, 12500, 100, -200, 300, 0)
    yield mavlink.MAVLink_extended_sys_state_message(0, 2)
    yield mavlink.MAVLink_mission_current_message(2)
    yield mavlink.MAVLink_mission_item_reached_message(1)
    yield mavlink.MAVLink_mission_request_message(*US, 0, 0)
    yield mavlink.MAVLink_mission_request_int_message(*US, 4, 1)
    yield mavlink.MAVLink_mission_count_message(*US, 5, 0)
    yield mavlink.MAVLink_mission_item_int_message(
        *US, 2, 3, 16, 1, 1, 1.5, 0, 0, 0.25, 656173000, -221376000, 12.5, 0
    )
    yield mavlink.MAVLink_mission_ack_message(*US, 13, 1)
    yield mavlink.MAVLink_command_ack_message(400, 5, 50, 0, *US)
    yield mavlink.MAVLink_command_ack_message(300, 0)
    yield mavlink.MAVLink_command_ack_message(20, 0, 0, 0, 7, 7)
    yield mavlink.MAVLink_param_value_message(b"FS_GCS_ENABLE", 1.0, 9, 1, 0)
    yield mavlink.MAVLink_home_position_message(656170000, 221370000, 14000, 0, 0, 0, [1, 0, 0, 0], 0, 0, 0)
    yield mavlink.MAVLink_autopilot_version_message(8, 0x0407_0080, 0, 0, 0, [0] * 8, [0] * 8, [0] * 8, 0, 0, 0)
    yield mavlink.MAVLink_fence_status_message(1, 3, 2, 1000)
    yield mavlink.MAVLink_statustext_message(4, TEXT[:50].encode(), 7, 0)
    yield mavlink.MAVLink_statustext_message(4, TEXT[50:].encode(), 7, 1)


def nonsense():
    """Bytes that must not be heard."""
    yield b"\xfd\xfe\x00\xfd" * 9
    damaged = bytearray(heartbeat(666).pack(vehicle))
    damaged[12] ^= 0x10
    yield bytes(damaged)
    yield heartbeat(667).pack(vehicle)[:-3]
    if key:
        yield heartbeat(668).pack(speaker(3, None))
        yield heartbeat(669).pack(speaker(4, bytes(32)))
        old = speaker(3, key)
        old.signing.timestamp -= 1_000_000
        yield heartbeat(670).pack(old)
        yield heartbeat(671).pack(speaker(3, None), force_mavlink1=True)


def talk():
    for message in kinds():
        vehicle.send(message)
    last = heartbeat(2).pack(vehicle)
    port.write(last)
    if key:
        # Once more the same bytes: somebody recorded them.
        port.write(last)
    for some in nonsense():
        port.write(some)
        # A frame that was cut off takes the next one with it.
        port.write(b"\x00" * 300)
    if not key:
        for message in (heartbeat(3), mavlink.MAVLink_mission_item_reached_message(9)):
            vehicle.send(message, force_mavlink1=True)
    vehicle.send(heartbeat(999))


def plain(value):
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


talked = False
print(json.dumps({"message": "ready"}), flush=True)
while True:
    for message in vehicle.parse_buffer(port.read(1024)) or []:
        told = {name: plain(value) for name, value in message.to_dict().items()}
        told["message"] = message.get_type()
        told["from"] = [message.get_srcSystem(), message.get_srcComponent()]
        told["signed"] = bool(message.get_signed())
        print(json.dumps(told, default=str), flush=True)
        if message.get_type() == "HEARTBEAT" and not talked:
            talked = True
            talk()

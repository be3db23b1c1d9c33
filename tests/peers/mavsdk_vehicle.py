"""The vehicle's side of MAVSDK, which others wrote: mavsdk_vehicle.py PORT

It takes missions and commands, and flies nothing. What it is told it prints, a JSON line each."""

import json
import sys
import time

from mavsdk.component_type import ComponentType
from mavsdk.mavsdk import Configuration, Mavsdk
from mavsdk.plugins.action_server import ActionServer
from mavsdk.plugins.mission_raw_server import MissionRawServer
from mavsdk.plugins.param_server import ParamServer


def tell(message, **more):
    print(json.dumps({"message": message, **more}), flush=True)


def took(result, plan, *_):
    items = [[item.seq, item.command, item.frame, item.x, item.y, item.z] for item in plan.mission_items]
    tell("mission", result=int(result), items=items)


sdk = Mavsdk(Configuration.create_with_component_type(ComponentType.AUTOPILOT))
result = sdk.add_any_connection(f"serial://{sys.argv[1]}:115200")
server = sdk.server_component()
missions = MissionRawServer(server)
actions = ActionServer(server)
params = ParamServer(server)
missions.subscribe_incoming_mission(took)
missions.subscribe_clear_all(lambda *_: tell("cleared"))
actions.subscribe_arm_disarm(lambda result, arm, *_: tell("arm", arm=bool(arm.arm), result=int(result)))
actions.set_armable(True, False)
actions.set_disarmable(True, False)
tell("ready", connection=str(result))
while True:
    time.sleep(1)

"""A Modbus RTU slave by pymodbus, the independent peer of tests/serial_modbus.rs.

    modbus_slave.py PORT

Serves unit 7 on PORT at 19200 baud without parity (pseudo-terminals have none). Says `ready` once it
listens, then a line for every request as pymodbus understood it: function, address, values.
"""

import asyncio
import sys

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

# What is not here does not exist: exception 2.
COILS = [SimData(0, values=[False] * 8, datatype=DataType.BITS)]
DISCRETE = [SimData(0, values=[False, False, True, False, False, False, False, False], datatype=DataType.BITS)]
HOLDING = [
    SimData(0, values=[1, 2, 3, 4], datatype=DataType.REGISTERS),
    SimData(10, values=21.5, datatype=DataType.FLOAT32),
    SimData(20, values=-123456, datatype=DataType.INT32),
]
INPUT = [SimData(3, values=-125, datatype=DataType.INT16)]


def trace(sending, pdu):
    """One line for each request."""
    if not sending:
        values = [int(value) for value in (pdu.registers or pdu.bits)]
        print(pdu.function_code, pdu.address, *values, flush=True)
    return pdu


def connected(up):
    """The port is open."""
    if up:
        print("ready", flush=True)


async def main():
    """Serves until killed."""
    server = ModbusSerialServer(
        SimDevice(id=7, simdata=(COILS, DISCRETE, HOLDING, INPUT)),
        framer=FramerType.RTU,
        port=sys.argv[1],
        baudrate=19200,
        parity="N",
        ignore_missing_devices=True,
        trace_pdu=trace,
        trace_connect=connected,
    )
    await server.serve_forever()


asyncio.run(main())

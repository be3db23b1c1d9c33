"""Two devices behind pseudo-terminals, for scripts/sandbox: an instrument that answers lines and a Modbus RTU
slave with one holding register. Standard library only; ports.py GROUP INSTRUMENT MODBUS makes both links and says so."""

import grp
import os
import select
import sys
import tty


def open_port(link, group):
    """A pseudo-terminal under a lasting name, as a serial port is: for a group."""
    ours, theirs = os.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    name = os.ttyname(theirs)
    os.chown(name, 0, grp.getgrnam(group).gr_gid)
    os.chmod(name, 0o660)
    os.symlink(name, link)
    # `theirs` stays open, so that nothing hangs up between two visits.
    return ours, theirs


def crc(data):
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value.to_bytes(2, "little")


def instrument(waiting):
    """Whole lines to their answers; what is left."""
    answers = b""
    while b"\n" in waiting:
        line, waiting = waiting.split(b"\n", 1)
        if line.strip() == b"*IDN?":
            answers += b"ACME 4711\r\n"
    return answers, waiting


def slave(waiting):
    """Requests to read one holding register (function 3) of unit 1: it holds 215."""
    answers = b""
    while len(waiting) >= 8:
        request, waiting = waiting[:8], waiting[8:]
        if request[:2] == b"\x01\x03" and crc(request[:6]) == request[6:]:
            answer = b"\x01\x03\x02" + (215).to_bytes(2, "big")
            answers += answer + crc(answer)
    return answers, waiting


def main():
    group, instrument_link, modbus_link = sys.argv[1:]
    serves = {}
    for link, answer in ((instrument_link, instrument), (modbus_link, slave)):
        ours, theirs = open_port(link, group)
        serves[ours] = [answer, b"", theirs]
    print("ready", flush=True)
    while True:
        for port in select.select(list(serves), [], [])[0]:
            answer, waiting, _ = serves[port]
            answers, serves[port][1] = answer(waiting + os.read(port, 4096))
            os.write(port, answers)


main()

"""Measures a running gateway: from the first publish to the last receipt.

    python -m tests.gateway.measure_ingest MQTT_PORT BATCHES

Each batch is 256 glucose readings of one meter, none of them known yet.
"""

import sys
import time
from dataclasses import replace

from protocols.observation import Device, Reading, Unit
from tests.gateway.stations import glucose, message, sender

_SIZE = 256


def _reading(number: int, device: Device) -> Reading:
    value = str(70 + number % 200)
    read = glucose(number, value, unit=Unit.MG_PER_DL, device=device)
    seen = replace(read.observation, raw=())
    return replace(read, observation=seen, person=None, evidence=())


def _main(port: int, batches: int) -> None:
    device = Device(f"measured-{time.time_ns()}")
    sent = [
        message(at + 1, *[_reading(at * _SIZE + k, device) for k in range(_SIZE)])
        for at in range(batches)
    ]
    with sender(port) as station:
        station._client._max_inflight_messages = 200
        started_s = time.monotonic()
        digests = [station.send(one) for one in sent]
        for digest in digests:
            station.entry(digest, timeout_s=60)
        took_s = time.monotonic() - started_s
    sys.stdout.write(f"{batches * _SIZE / took_s:,.0f} readings/s in {took_s:.1f} s\n")


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))

"""Runs thingsboard-gateway's own converter and storage on messages from a file.

    PYTHON thingsboard.py FILE FOLDER SECONDS

PYTHON is one in whose environment ``thingsboard-gateway`` is installed: it brings
another ``paho`` than ours. Each line of FILE is a message, a JSON array of readings;
what its MQTT connector would do with one is done here without a broker. Prints a JSON
object when all that was converted is in its SQLite file.
"""

import json
import logging
import sqlite3
import sys
from pathlib import Path
from threading import Event
from time import perf_counter, sleep

from simplejson import dumps
from thingsboard_gateway.connectors.mqtt.json_mqtt_uplink_converter import (
    JsonMqttUplinkConverter,
)
from thingsboard_gateway.storage.sqlite.sqlite_event_storage import SQLiteEventStorage

_MOST_BYTES = 8_196  # of a message to its server, by default
_CONFIG = {
    "converter": {
        "type": "json",
        "deviceInfo": {
            "deviceNameExpressionSource": "message",
            "deviceNameExpression": "${device}",
            "deviceProfileExpressionSource": "constant",
            "deviceProfileExpression": "default",
        },
        "attributes": [],
        "timeseries": [
            {"type": "double", "key": key, "value": f"${{{key}}}"}
            for key in ("glucose", "systolic", "diastolic", "pulse-rate")
        ],
    }
}


class _Logger(logging.Logger):
    def trace(self, *_words: object, **_more: object) -> None:
        """Say nothing, as its own logger does unless it is told to."""


def _main(file: Path, folder: Path, seconds: float) -> None:
    logger = _Logger("bench", logging.CRITICAL)
    converter = JsonMqttUplinkConverter(_CONFIG, logger)
    storage = SQLiteEventStorage(
        {"data_file_path": f"{folder}/", "size_limit": 100_000}, logger, Event()
    )
    messages = file.read_bytes().splitlines()
    readings = events = 0
    began_s = perf_counter()
    while perf_counter() - began_s < seconds:
        for message in messages:
            told = json.loads(message)
            for converted in converter.convert("bench/up", told):
                for part in converted.convert_to_objects_with_maximal_size(_MOST_BYTES):
                    part.metadata = {}
                    text = dumps(
                        part.to_dict(),
                        separators=(",", ":"),
                        skipkeys=True,
                        ignore_nan=True,
                    )
                    events += bool(storage.put(text))
            readings += len(told)
            if perf_counter() - began_s >= seconds:
                break
    with sqlite3.connect(folder / "data.db") as database:
        while database.execute("SELECT count(*) FROM messages").fetchone()[0] < events:
            sleep(0.02)
    took_s = perf_counter() - began_s
    sys.stdout.write(json.dumps({"readings": readings, "seconds": took_s}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))

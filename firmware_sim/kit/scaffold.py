"""Begins a driver package that installs, is found and passes the kit.

What it writes reads an invented meter, whole and working: the author changes one
part after the other into the real device, and the kit says after each step
what holds.
"""

import re
from importlib.resources import files
from pathlib import Path
from string import Template
from uuid import uuid4

_FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "codec.py.txt": "$module/codec.py",
    "driver.py.txt": "$module/driver.py",
    "device.py.txt": "$module/device.py",
    "vectors.json.txt": "tests/vectors.json",
    "test_vectors.py.txt": "tests/test_vectors.py",
}
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

_SERIAL = {
    "driver_class": "SerialDriver",
    "link_class": "SerialLink",
    "ble_import": "",
    "ble_constants": "",
    "gatt_names": "",
    "serial_names": "    SerialDriver,\n    SerialLink,\n",
    "lost_name": "    LinkLost,\n",
    "look_again": """\
    # A record does not say whose it is: the plug may hang in another meter.
    if await _serial_number(meter) != serial:
        raise LinkLost("another meter was plugged in")
""",
    "open_stream": "    meter = Conversation(link, codec.decoder())\n",
    "driver_where": "    baud=9600,\n",
    "driver_pairs": "",
    "write_uuid": "",
    "bench_class": "SerialBench",
    "ble_device_import": "",
    "bench_import": "",
    "ble_device_constants": "",
    "bench_head": "    baud = 9600\n",
    "bench_body": '''    def plugged(self) -> Iterable[bytes]:
        """Say nothing unasked."""
        return ()

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Take received bytes; return answers, each one frame."""
        return list(self._hear(data))
''',
}
_BLE = {
    "driver_class": "GattDriver",
    "link_class": "GattLink",
    "ble_import": "from uuid import UUID\n",
    "ble_constants": """
SERVICE = UUID("$service")
_SENDS = UUID("$sends")
_RECEIVES = UUID("$receives")
""",
    "gatt_names": "    GattDriver,\n    GattLink,\n    GattStream,\n",
    "serial_names": "",
    "lost_name": "",
    "look_again": "",
    "open_stream": """    await link.subscribe(_RECEIVES)
    stream = GattStream(link, _SENDS, _RECEIVES)
    meter = Conversation(stream, codec.decoder())
""",
    "driver_where": "    service=SERVICE,\n",
    "driver_pairs": "\n    pairs=False,",
    "write_uuid": ", _SENDS",
    "bench_class": "GattBench",
    "ble_device_import": "from uuid import UUID\n",
    "bench_import": """from firmware_sim.bench import (
    Action,
    AttError,
    Characteristic,
    Pairing,
    Security,
    Send,
)
from firmware_sim.label import Label, services
""",
    "ble_device_constants": """
_SERVICE = UUID("$service")
_COMMAND = UUID("$sends")
_ANSWER = UUID("$receives")
""",
    "bench_head": """    name = "$title"
    advertised = (_SERVICE,)
    pairing = Pairing.NONE
    passkey = 0
""",
    "bench_body": '''    @property
    def services(self) -> dict[UUID, tuple[Characteristic, ...]]:
        """Its services and their characteristics."""
        return {
            _SERVICE: (
                Characteristic(_COMMAND, frozenset({"write"})),
                Characteristic(_ANSWER, frozenset({"notify"})),
            ),
            **services(Security.NONE),
        }

    def connected(self) -> None:
        """Begin with an empty buffer."""
        self._buffer = b""

    def disconnected(self) -> None:
        """Forget what was half said."""
        self._buffer = b""

    def read(self, uuid: UUID) -> bytes:
        """Return a value of the label; raise `AttError` for all else."""
        try:
            return Label("$title", self._serial).values[uuid]
        except KeyError:
            raise AttError(0x02) from None

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take a command; return its answer."""
        if uuid != _COMMAND:
            raise AttError(0x03)
        return [Send(_ANSWER, answer) for answer in self._hear(payload)]

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:  # noqa: ARG002
        """Say nothing unasked."""
        return ()
''',
}


class ScaffoldError(Exception):
    """The package can't be begun."""


def scaffold(name: str, folder: Path, *, ble: bool) -> list[Path]:
    """Write a driver package.

    Args:
        name: The driver's name, as ``my-meter``.
        folder: Where to; a new folder of that name is made in it.
        ble: Whether it is a BLE device; else it hangs on a serial port.

    Returns:
        The files that were written.

    Raises:
        ScaffoldError: The name is none that a driver can have, or it is there.
    """
    if not _NAME.fullmatch(name):
        raise ScaffoldError(
            f"'{name}' is no name for a driver: small letters, digits and single "
            "hyphens, as 'my-meter'"
        )
    root = folder / name
    if root.exists():
        raise ScaffoldError(f"{root} is already there; choose another name or folder")
    uuids = {key: str(uuid4()) for key in ("service", "sends", "receives")}
    words = {
        "name": name,
        "module": name.replace("-", "_"),
        "title": name.replace("-", " ").capitalize(),
        **uuids,
    }
    parts = _BLE if ble else _SERIAL
    words |= {key: Template(part).substitute(words) for key, part in parts.items()}
    written = []
    for source, target in _FILES.items():
        text = files("firmware_sim.kit").joinpath("template", source).read_text("utf-8")
        path = root / Template(target).substitute(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(words), "utf-8")
        written.append(path)
    package = root / words["module"]
    (package / "__init__.py").write_text("")
    return written

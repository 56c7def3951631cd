"""The MQTT topics between stations and gateway.

    vw/1/<tenant>/<station>/up/batch      readings
    vw/1/<tenant>/<station>/up/status     retained; the last will says "gone"
    vw/1/<tenant>/<station>/up/event      what a technician should know
    vw/1/<tenant>/<station>/down/receipt  what the gateway has stored
    vw/1/<tenant>/<station>/down/config
    vw/1/<tenant>/<station>/down/command

No topic holds anything of a person.
"""

import re
from typing import NamedTuple

_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_UP = ("batch", "status", "event")
_DOWN = ("receipt", "config", "command")


class Station(NamedTuple):
    """A station's place in the topics.

    Attributes:
        tenant: Whose station it is, ``[A-Za-z0-9-]{1,64}``.
        station: Its id, likewise.
    """

    tenant: str
    station: str

    def up(self, name: str) -> str:
        """Return the topic on which the station sends ``name``."""
        return self._topic("up", name, _UP)

    def down(self, name: str) -> str:
        """Return the topic on which the station is sent ``name``."""
        return self._topic("down", name, _DOWN)

    def _topic(self, way: str, name: str, names: tuple[str, ...]) -> str:
        check_id("tenant", self.tenant)
        check_id("station", self.station)
        if name not in names:
            raise ValueError(f"{name!r} is none of {', '.join(names)}")
        return f"vw/1/{self.tenant}/{self.station}/{way}/{name}"


def every_up(name: str, tenant: str = "+") -> str:
    """Return the filter for ``name`` from every station of ``tenant``, or of all."""
    if name not in _UP:
        raise ValueError(f"{name!r} is none of {', '.join(_UP)}")
    return f"vw/1/{tenant}/+/up/{name}"


def station_of(topic: str) -> Station | None:
    """Return the station that sent on ``topic``; None if it is no such topic."""
    match topic.split("/"):
        case ["vw", "1", tenant, station, "up", name] if (
            name in _UP and _ID.fullmatch(tenant) and _ID.fullmatch(station)
        ):
            return Station(tenant, station)
    return None


def is_id(text: str) -> bool:
    """Whether ``text`` may be an id."""
    return _ID.fullmatch(text) is not None


def check_id(what: str, text: str) -> str:
    """Return ``text`` if it may be an id.

    Raises:
        ValueError: It holds other characters than A-Z a-z 0-9 -, or 0 or over 64.
    """
    if not _ID.fullmatch(text):
        raise ValueError(f"{what} {text!r} is not 1 to 64 of A-Z a-z 0-9 -")
    return text

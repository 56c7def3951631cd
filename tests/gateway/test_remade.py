"""Readings made again from rows: the same as those kept, or an error."""

from dataclasses import FrozenInstanceError, fields, replace

import cbor2
import pytest

from gateway.store import Filter, Store, Stored
from gateway.store.remade import quickly, reading_of
from gateway.store.rows import FACTS, KEY, KIND_NUMBERS
from protocols.gatt.time import DateTime
from protocols.observation import Device, Kind, Observation, Reading, TimeMethod, Value
from protocols.uplink.topics import Station
from tests.gateway.stations import METER, accepted, glucose, pressure

DRIVER = ("gatt-glucose", "0.1.0")
_GLUCOSE = '["glucose","mmol/L","5.50",0]'
_KEY = {
    "device": 1, "generation": 0, "slot": -1, "kind": KIND_NUMBERS[Kind.GLUCOSE],
    "ordinal": 7, "discriminator": 0,
}  # fmt: skip
_FACTS = {
    "utc_ms": 1_000, "time_method": 1, "time_bound_ms": None, "captured_ms": 2_000,
    "device_time": "2026-03-01T07:30:00", "offset_min": None, "link": 0, "quality": 0,
    "person": None, "evidence": None, "status": None, "context": None,
    '"values"': f"[{_GLUCOSE}]", "raw": None,
}  # fmt: skip


def remade(**other: object) -> Reading:
    """Return the reading of a row that differs from a good one; ``values`` unquoted."""
    other = {'"values"' if name == "values" else name: it for name, it in other.items()}
    row = _KEY | _FACTS | other
    return reading_of(
        METER,
        DRIVER,
        [row[name] for name in KEY],  # type: ignore[misc]
        tuple(row[name] for name in FACTS),
    )


def test_a_reading_made_again_is_as_any_other() -> None:
    """Whoever gets it may compare it, put it in a set, and not change it."""
    found = remade(context='[["sample","capillary_plasma"]]', raw=b"\x81\x41\x07")
    seen = Observation(
        Kind.GLUCOSE,
        found.observation.values,
        DateTime(2026, 3, 1, 7, 30, 0),
        sequence=7,
        context=(("sample", "capillary_plasma"),),
        raw=(b"\x07",),
    )
    true = Reading(METER, seen, *DRIVER, 2_000, 1_000, TimeMethod.DEVICE)
    assert (found, hash(found), repr(found)) == (true, hash(true), repr(true))
    assert (type(found), type(found.observation)) == (Reading, Observation)
    assert replace(found, generation=1) == replace(true, generation=1)
    with pytest.raises(FrozenInstanceError):
        found.utc_ms = 0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"utc_ms": None}, "DEVICE does not go with None"),
        ({"time_method": 0}, "UNKNOWN does not go with 1000"),
        ({"time_method": 9}, "9 is not a valid TimeMethod"),
        ({"link": 9}, "9 is not a valid LinkSecurity"),
        ({"kind": KIND_NUMBERS[Kind.KETONE]}, "glucose is not what ketone has"),
        ({"values": "[]"}, "glucose needs values"),
        ({"values": f"[{_GLUCOSE},{_GLUCOSE}]"}, "each of another quantity"),
        ({"values": '[["glucose","mmol/L",null,0]]'}, "MEASURED does not go with"),
        ({"values": '[["glucose","mmol/L","NaN",0]]'}, "NaN is no number"),
        ({"values": '[["glucose","mmol/L","-0.0",0]]'}, "negative zero"),
        ({"values": '[["glucose","mmol/L","5,50",0]]'}, "is no number"),
        ({"values": '[["glucose","mmol/L","5.50",8]]'}, "8 is not a valid State"),
        ({"values": '[["glucose","mmul/L","5.50",0]]'}, "is not a valid Unit"),
        ({"values": '[["glocose","mmol/L","5.50",0]]'}, "is not a valid Quantity"),
        ({"context": '[["a","1"],["a","2"]]'}, "a name stands twice"),
        ({"context": '[["sample","control_solution"]]'}, "is no person's"),
        ({"device_time": "2026-03-01 07:30:00"}, "is not of the form"),
        ({"device_time": "2026-03-01T07:30"}, "is not of the form"),
        ({"device_time": "2026-3-01T07:30:00"}, "is not of the form"),
        ({"device_time": "T"}, "is not of the form"),
        ({"raw": b"\x81"}, "its frames are damaged"),
        ({"raw": b"\x81\x58"}, "its frames are damaged"),
        ({"raw": b"\x05"}, "its frames are damaged"),
        ({"raw": b"\x81\x05"}, "its frames are damaged"),
    ],
)
def test_a_damaged_row_is_an_error_each_time(
    damage: dict[str, object], said: str
) -> None:
    """What is remembered of sound rows, or of this one, must let no damage by."""
    assert remade().utc_ms == 1_000
    for _ in range(2):
        with pytest.raises(ValueError, match=said):
            remade(**damage)


def test_equal_numbers_keep_their_own_digits() -> None:
    """5.5 and 5.50 are equal, and a device that says 5.50 measures finer."""
    texts = ["5.5", "5.50", "55E-1", "5.5"]
    rows = [remade(values=f'[["glucose","mmol/L","{text}",0]]') for text in texts]
    numbers = [str(one.observation.values[0].number) for one in rows]
    assert numbers == ["5.5", "5.50", "5.5", "5.5"]


def test_every_part_of_a_clock_is_kept() -> None:
    """Devices send impossible dates, and a reading must not be lost for its clock."""
    for text in ("0000-00-00T00:00:00", "65535-255-255T255:255:255"):
        found = remade(device_time=text).observation.device_time
        assert str(found) == text


@pytest.mark.parametrize(
    "frames",
    [
        (b"",), (b"\x01",), (bytes(23),), (bytes(24),), (bytes(300),), (b"a", b"b"),
        (b"", b"\x40"), (b"\x81\x40",),
    ],
)  # fmt: skip
def test_frames_of_any_length_and_number_are_kept(frames: tuple[bytes, ...]) -> None:
    """A short one is cut out by hand."""
    assert remade(raw=cbor2.dumps(frames)).observation.raw == frames


@pytest.mark.parametrize("kind", [Value, Observation, Device, Reading, Stored])
def test_what_is_made_quickly_has_its_fields_in_order(kind: type[object]) -> None:
    """Two fields of one type that change places would pass every check."""
    names = tuple(one.name for one in fields(kind))  # type: ignore[arg-type]
    made = quickly(kind)(*names)
    assert type(made) is kind
    assert tuple(getattr(made, name) for name in names) == names


def test_a_stored_reading_has_what_its_row_refers_to(store: Store) -> None:
    """Batch, driver and device are asked for apart: each row must get its own."""
    other = Station("clinic", "station-2")
    sent = [
        replace(glucose(1), driver_version="2"),
        replace(glucose(2), device=Device("meter-2", "Other")),
        pressure(3, 120, 80, 60),
    ]
    for number, (one, station) in enumerate(
        zip(sent, (Station("clinic", "station-1"), other, other), strict=True)
    ):
        store.commit(
            [accepted(number + 1, one, station=station, received_ms=100 + number)]
        )

    (meter, *_) = store.devices(0, 9)
    for number, found in enumerate(store.readings(Filter(), 0, 9)):
        assert found.reading == sent[number]
        assert found.received_ms == 100 + number
        assert (found.station == other) is (number > 0)
        assert (found.device == meter.id) is (number == 0)
    assert found.id == 3


@pytest.mark.parametrize("lost", ["batch", "driver", "device"])
def test_a_row_that_lost_what_it_refers_to_is_an_error(store: Store, lost: str) -> None:
    """Left out, it would be missed by nobody."""
    store.commit([accepted(1, glucose(1))])
    with store.database.change() as change:
        change.rows(f"DELETE FROM {lost}")

    with pytest.raises(ValueError, match="row 1 is of no batch, driver or device"):
        store.readings(Filter(), 0, 9)

"""Which driver is suggested for what advertises."""

import pytest

from drivers import registry
from drivers.sdk import GattDriver
from edge_agent.scan import suggest
from protocols.gatt.uuid import sig

DRIVERS = [
    driver
    for driver in map(registry.load, registry.names())
    if isinstance(driver, GattDriver)
]


@pytest.mark.parametrize(
    ("name", "services", "expected"),
    [
        ("", [0x1808], "gatt-glucose"),
        ("meter+00012345", [0x1808], "gatt-glucose"),
        ("CareSens 1234", [0x1808], "gatt-glucose"),
        ("", [0x1810], "gatt-blood-pressure"),
        ("A cuff of nobody", [0x1810], "gatt-blood-pressure"),
        ("A&D_UA-651BLE_112233", [0x1810], "and-cuff"),
        ("BP3GY1-2N", [0xFFF0], "microlife"),
        ("Bluetooth BP", [0xFFF0], "urion"),
        ("RBP1512200031", [0xFFF0], "maibobo"),
        ("", [0xFFF0], None),  # three makers use it
        ("Something", [0xFFF0], None),
        ("YK-BPW5", [], "yonker"),
        ("OneTouch 4321", [], "onetouch-verio-ble"),
        ("Bioland-BGM", [], "bioland"),
        ("", [0x181F], "gatt-cgm"),
        ("", [0x1809], "gatt-thermometer"),
        ("A television", [], None),
        ("Yuwell BP", [0x1810], "gatt-blood-pressure"),
        ("Yuwell 580", [0x1808], "gatt-glucose"),
        ("Yuwell", [], None),
        ("BLESmart_0000015F112233445566", [0x1810], "omron-standard"),
        ("BLEsmart_0000015F112233445566", [0xFE4A], "omron-eeprom"),
    ],
)
def test_a_name_says_more_than_a_service(
    name: str, services: list[int], expected: str | None
) -> None:
    """By the wrong driver a technician reads nothing, or what nobody measured."""
    assert suggest(name, [str(sig(number)) for number in services], DRIVERS) == expected


def test_drivers_that_claim_the_same_name_differ_by_service() -> None:
    """Else it depends on their order which of them is suggested."""
    claimed: dict[str, set[str]] = {}
    services = {driver.id: driver.service for driver in DRIVERS}
    for driver in DRIVERS:
        for model in driver.models:
            for start in model.advertises:
                claimed.setdefault(start, set()).add(driver.id)
    for start, names in claimed.items():
        assert len({services[name] for name in names}) == len(names), start

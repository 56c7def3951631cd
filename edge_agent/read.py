"""One visit for a technician: what a device says, printed and kept nowhere."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing

from drivers import registry
from drivers.sdk import GattDriver, Observation, Packet, Terms
from edge_agent.links.ble import open_radio
from edge_agent.links.serial import open_port
from protocols.kinds import Shown
from protocols.observation import State
from protocols.units import canonical

_SEEN_S = 30.0


class OnceOnly(Exception):
    """Reading the device here would take its readings from where they belong."""


async def observations(
    driver_name: str, peer: str, passkey: str | None, *, model: str, take: bool
) -> AsyncIterator[Observation]:
    """Yield what one visit to a device brings.

    Args:
        driver_name: The driver to read it with.
        peer: Its address or its port.
        passkey: The six digits printed on it, if it pairs by passkey.
        model: Its model, where the driver asks for it; else empty.
        take: Read also a device that tells a reading only once.

    Raises:
        OnceOnly: The device would tell its readings to nobody else.
        UnknownDriver: No such driver is installed.
        NoRadio: It is a BLE device, and there is no Bluetooth.
        LinkLost: The device is not there, or went away.
        NoReply: It is there and does not answer.
        Refused: It refused what the driver needs.
    """
    driver = registry.load(driver_name)
    if driver.once_only and not take:
        raise OnceOnly(
            f"devices of {driver.id} tell a reading only once: what is printed here "
            "reaches no gateway; say --take to do it all the same"
        )
    async with AsyncExitStack() as held:
        if isinstance(driver, GattDriver):
            radio = await held.enter_async_context(open_radio())
            seen = await radio.find(peer, _SEEN_S)
            connecting = radio.connect(
                seen, passkey, _keep_nothing, _ignore, pair=driver.pairs
            )
            link = await held.enter_async_context(connecting)
            events = driver.visit(link, Terms(model=model))
        else:
            opening = open_port(peer, driver, _ignore, _keep_nothing)
            port = await held.enter_async_context(opening)
            events = driver.visit(port, Terms(model=model))
        known: set[tuple[bytes, ...]] = set()
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Observation) and event.raw not in known:
                    known.add(event.raw)
                    yield event


async def _keep_nothing(_: list[Packet] | bytes) -> None:
    pass


def _ignore(_: object) -> None:
    pass


def show(seen: Observation) -> Shown:
    """Return an observation as an object."""
    time, facing = seen.device_time, seen.user_facing_time
    return {
        "kind": seen.kind.value,
        "values": [
            {
                "quantity": value.quantity.value,
                "value": value.number if value.state == State.MEASURED else None,
                "limit": None if value.state == State.MEASURED else value.number,
                "unit": value.unit.value,
                "state": value.state.name.lower(),
            }
            for value in seen.values
        ],
        "device_time": None if time is None else str(time),
        "user_facing_time": None if facing is None else str(facing),
        "offset_min": seen.offset_min,
        "sequence": seen.sequence,
        "slot": seen.slot,
        "status": list(seen.status),
        "context": dict(seen.context),
        "raw": [part.hex() for part in seen.raw],
    }


def line(seen: Observation) -> str:
    """Return an observation as one line for people, by the time they were shown."""
    time = seen.user_facing_time or seen.device_time
    parts = [f"{time or 'no time'!s:<20}", f"{seen.kind.value:<17}"]
    for value in seen.values:
        found = canonical(value)
        if value.state != State.MEASURED or found is None:
            text = value.state.name.lower().replace("_", " ")
        else:
            text = f"{found[0].normalize():f} {found[1]}"
            if found[1] != value.unit:
                text += f" ({value.number} {value.unit})"
        parts.append(f"{value.quantity} {text}")
    return "  ".join(parts)

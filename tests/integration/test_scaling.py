"""Many gateways over one store: killed, added, and their broker killed, under load.

An oracle reads the tables itself: all that stations captured is there, once, and each
gateway had a part in it. Stations send until they have a receipt, as real ones do, but
after 2 s instead of 20.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.gateway.conftest import (
    Mosquitto,
    postgres_server,  # noqa: F401 - a fixture
    postgres_url,  # noqa: F401 - a fixture
    quick_mosquitto,  # noqa: F401 - a fixture
)
from tests.integration.fleet import (
    WINDOW,
    Cluster,
    Gateway,
    check_stored,
    drain,
    fleet,
    gateway,
)
from tests.integration.parts import until

pytestmark = pytest.mark.integration

_STATIONS = 12
_EVERY_S = 0.05
_LEAST = 0.1  # of all batches, for each gateway


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path)
    try:
        found.start()
        yield found
    finally:
        found.close()


class Scaled:
    """Three gateways under load.

    Args:
        running: What ends them.
        folder: For their files.
        settings: How they find the broker.
        url: Of their store.
        ports: Where stations find the broker.
    """

    def __init__(
        self,
        running: ExitStack,
        folder: Path,
        settings: str,
        url: str,
        ports: Sequence[int],
    ) -> None:
        self._running, self._folder, self._url = running, folder, url
        self._settings = f'{settings}[store]\nurl = "{url}"\n'
        self.gateways = [self._start(f"gateway-{at}") for at in range(3)]
        self._loads = running.enter_context(fleet(_STATIONS, ports, _EVERY_S))

    def replace_one(self) -> None:
        """Kill a gateway, go on without it, and add another."""
        self.gateways.pop(0).kill()
        self._go_on(60)
        self.gateways.append(self._start("gateway-added"))

    def recover(self) -> None:
        """Go on until each gateway has stored something again.

        What one held when the broker went it stores without any broker, so that all
        that was on its way then has to be receipted first.
        """
        self._go_on(_STATIONS * WINDOW + 1)
        before = [one.stored() for one in self.gateways]
        counts = list(zip(self.gateways, before, strict=True))
        until(lambda: all(one.stored() > then for one, then in counts))

    def check_spread(self, receipts: int = 240) -> None:
        """Go on for so many receipts; check that each gateway had a part in them."""
        before = [one.stored() for one in self.gateways]
        sent = self._sent()
        self._go_on(receipts)
        counts = [
            one.stored() - then for one, then in zip(self.gateways, before, strict=True)
        ]
        assert min(counts) > _LEAST * sum(counts), counts
        # Where a batch was sent again, each of its messages is receipted.
        assert sum(counts) < 2 * (self._sent() - sent), "each message goes to all"

    def check_stored(self) -> None:
        """Let stations send all they have; compare it with what is stored."""
        drain(self._loads)
        assert check_stored(self._url, self._loads) > 1_000

    def _start(self, name: str) -> Gateway:
        started = gateway(self._folder, name, self._settings)
        return self._running.enter_context(started)

    def _go_on(self, receipts: int) -> None:
        until_given = self._given() + receipts
        until(lambda: self._given() >= until_given)

    def _given(self) -> int:
        return sum(load.receipts for load in self._loads)

    def _sent(self) -> int:
        return sum(load.sent for load in self._loads)


@pytest.fixture
def scaled(tmp_path: Path, postgres_url: str) -> Iterator[Callable[..., Scaled]]:  # noqa: F811
    with ExitStack() as running:
        yield lambda settings, ports: Scaled(
            running, tmp_path, settings, postgres_url, ports
        )


def _shared(broker: Mosquitto) -> str:
    return (
        f"[broker]\nembedded = false\nport = {broker.port}\n"
        'protocol = "5"\nshared = "gateways"\n'
    )


def test_gateways_of_a_group_are_killed_and_added(
    quick_mosquitto: Mosquitto,  # noqa: F811
    scaled: Callable[..., Scaled],
) -> None:
    """What a killed gateway held is stored by another, and nothing twice."""
    found = scaled(_shared(quick_mosquitto), [quick_mosquitto.port])
    found.check_spread()
    found.replace_one()
    found.check_spread()
    found.check_stored()


@pytest.mark.scale
def test_gateways_of_a_group_outlive_their_broker(
    quick_mosquitto: Mosquitto,  # noqa: F811
    scaled: Callable[..., Scaled],
) -> None:
    """A broker that forgets all that it took costs nothing."""
    found = scaled(_shared(quick_mosquitto), [quick_mosquitto.port])
    found.check_spread()
    quick_mosquitto.kill()
    quick_mosquitto.database.unlink(missing_ok=True)
    quick_mosquitto.start()
    found.recover()
    found.check_spread()
    found.check_stored()


@pytest.mark.scale
def test_gateways_of_a_cluster_are_killed_and_added(
    cluster: Cluster, scaled: Callable[..., Scaled]
) -> None:
    """What a killed gateway held is given to another."""
    found = scaled(cluster.settings(), cluster.mqtt_ports)
    found.check_spread()
    found.replace_one()
    found.check_spread()
    found.check_stored()


@pytest.mark.scale
def test_gateways_outlive_a_node_of_their_cluster(
    cluster: Cluster, scaled: Callable[..., Scaled]
) -> None:
    """Stations and gateways find the others, and what the node took is sent again."""
    found = scaled(cluster.settings(), cluster.mqtt_ports)
    found.check_spread()
    cluster.kill(cluster.leader())
    found.recover()
    found.check_spread()
    found.check_stored()

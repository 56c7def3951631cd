"""Which devices somebody may see, and what of them.

That somebody has a device, what kinds it measures and that it was used since is news of
them, too. So a reader sees a device by what was agreed to, as if it told nothing else.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from gateway.access import Access, Principal
from gateway.consent import Grant
from gateway.fhir.device import device
from gateway.fhir.elements import Resource
from gateway.registry import Registry
from gateway.store import Store, StoredDevice

Seen = Mapping[int, Iterable[Grant]]
"""By `StoredDevice.id`: which of its readings may be seen."""


class Devices:
    """Finds the devices that somebody may see.

    Args:
        store: Where devices are.
        registry: Whose they are.
        access: Who may see what.
    """

    def __init__(self, store: Store, registry: Registry, access: Access) -> None:
        self._store, self._registry, self._access = store, registry, access

    def seen(self, who: Principal) -> Seen | None:
        """Return the devices whose readings ``who`` may see; None is the tenant's."""
        visible = self._access.visible(who, self._access.now_ms())
        return None if visible is None else self._by_grants(who, visible)

    def of_ids(self, who: Principal, numbers: Collection[int]) -> Iterator[Resource]:
        """Yield those of some devices that ``who`` may see."""
        return self._shown(who, numbers, self.seen(who))

    def of_patients(
        self, who: Principal, patients: Iterable[int]
    ) -> Iterator[Resource]:
        """Yield the devices of patients, as ``who`` may see them."""
        seen = self._by_grants(who, patients)
        return self._shown(who, seen, seen)

    def _shown(
        self, who: Principal, numbers: Collection[int], seen: Seen | None
    ) -> Iterator[Resource]:
        for number in sorted(numbers):
            for one in self._store.devices(number - 1, 1):
                shown = show(who, one, seen)
                if one.id == number and shown is not None:
                    yield shown

    def _by_grants(
        self, who: Principal, patients: Iterable[int]
    ) -> dict[int, list[Grant]]:
        found: dict[int, list[Grant]] = defaultdict(list)
        for patient in patients:
            grants = self._access.granted(who, patient, self._access.now_ms())
            for span in self._registry.spans(patient):
                meets = [
                    one
                    for one in grants
                    if span.from_ms < one.end_ms and (one.from_ms or 0) < span.until_ms
                ]
                if meets:
                    found[span.device] += meets
        return found


def show(who: Principal, stored: StoredDevice, seen: Seen | None) -> Resource | None:
    """Return a device by what may be seen of it; None if that is nothing."""
    if who.tenant not in {"", stored.tenant}:
        return None
    if seen is None:
        return device(stored)
    grants = [*seen.get(stored.id, ())]
    kinds = tuple(
        tally
        for tally in stored.tallies
        if any(one.kinds is None or tally.kind in one.kinds for one in grants)
    )
    if not grants or (stored.tallies and not kinds):
        return None
    last_ms = min(stored.last_seen_ms, max(one.end_ms for one in grants))
    part = replace(stored, tallies=kinds, last_seen_ms=last_ms)
    return device(part, named=who.sees_names)

"""What stations tell, group by group, as the PostgreSQL store takes it in.

Most groups are new as a whole: what is counted of them and looked up for them is made
by the group, for a reading at a time it would take longer than to write them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway.store.database import Row
from gateway.store.postgres_database import escaped
from gateway.store.rows import KIND_NUMBERS, Made, rows, tally

_MEMORY = ("generation", "slot")  # of it device and kind are one in a group


@dataclass(frozen=True, slots=True)
class Told:
    """A group of a batch, and the numbers that the store gives it.

    Attributes:
        group: Its readings.
        first: The id of the first of them; the others follow.
        device: The number of their device.
        batch: Of their batch.
        driver: Of their driver.
    """

    group: Made
    first: int
    device: int
    batch: int
    driver: int

    def rows(self) -> list[Row]:
        """Return the readings as rows, in the order of `READING`."""
        group = self.group
        # Of all texts only a person's name is not JSON, which escapes by itself.
        persons = group.columns["person"]
        if any(name is not None and escaped(name) != name for name in {*persons}):
            kept = [None if name is None else escaped(name) for name in persons]
            group = replace(group, columns=group.columns | {"person": kept})
        return rows(group, self.first, self.device, self.batch, self.driver)

    def memories(self) -> set[Row]:
        """Return device, generation, slot and kind of the readings' keys."""
        generations, slots = (self.group.columns[name] for name in _MEMORY)
        said = {(generations[0], slots[0])}
        if any(each.count(each[0]) < len(each) for each in (generations, slots)):
            said = {*zip(generations, slots, strict=True)}
        kind = KIND_NUMBERS[self.group.kind]
        return {(self.device, *parts, kind) for parts in said}

    def tallied(self) -> Row:
        """Return what the readings add to a tally, as `rows.tallied` does."""
        return tally(self.group, self.device)


def tallied(told: Iterable[Told]) -> list[Row]:
    """Return what groups that are new as a whole add to the tallies, in order."""
    found: dict[Row, Row] = {}
    for one in told:
        new = one.tallied()
        before = found.get(new[:2])
        found[new[:2]] = new if before is None else _both(before, new)
    return [found[name] for name in sorted(found)]


def _both(one: Row, other: Row) -> Row:
    device, kind, count, flagged, first_ms, last_ms = zip(one, other, strict=True)
    return (
        device[0],
        kind[0],
        sum(count),
        sum(flagged),
        min([ms for ms in first_ms if ms is not None], default=None),
        max([ms for ms in last_ms if ms is not None], default=None),
    )

"""What every driver must be able to stand: the kit's rules, by name.

A rule is a coroutine that takes a `Case` and returns what is wrong, in words
for the driver's author; nothing is well.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from firmware_sim.kit import rules_damage as damage
from firmware_sim.kit import rules_memory as memory
from firmware_sim.kit import rules_readings as readings
from firmware_sim.kit import rules_writes as writes
from firmware_sim.kit.visits import Case


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the kit.

    Attributes:
        name: Its name.
        check: Returns what is wrong; its docstring says what holds where it is kept.
    """

    name: str
    check: Callable[[Case], Awaitable[list[str]]]

    @property
    def meaning(self) -> str:
        """What holds where it is kept."""
        return (self.check.__doc__ or "").strip()


RULES = (
    Rule("described", readings.described),
    Rule("identified", readings.identified),
    Rule("values-exact", readings.exact),
    Rule("contexts-kept", readings.contexts),
    Rule("statuses-kept", readings.statuses),
    Rule("limits-are-no-numbers", readings.limits),
    Rule("control-is-no-patient", readings.control),
    Rule("kinds-declared", readings.declared),
    Rule("clock-told", readings.clock_told),
    Rule("keys-stable", memory.stable),
    Rule("keys-apart", memory.apart),
    Rule("news-found", memory.news),
    Rule("commits-in-order", memory.commits),
    Rule("memory-erased", memory.erased),
    Rule("line-damage", damage.lines),
    Rule("link-lost", damage.cuts),
    Rule("swapped-device", damage.swaps),
    Rule("wrong-bits", damage.bits),
    Rule("refusals-told", damage.refusals),
    Rule("silence-told", damage.silence),
    Rule("endless-bounded", damage.endless),
    Rule("junk-contained", damage.junk),
    Rule("once-only-kept", memory.once),
    Rule("empty-is-well", memory.empty),
    Rule("full-memory", memory.full),
    Rule("clock-left-alone", writes.clock_alone),
    Rule("clock-set-by-policy", writes.clock_set),
    Rule("writes-declared", writes.writes),
)

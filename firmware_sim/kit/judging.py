"""What visits brought, against what was shown."""

from collections import Counter

from drivers.sdk import Undecoded
from firmware_sim.kit.history import Fact, lists
from firmware_sim.kit.visits import Case, Visit
from firmware_sim.link import Damage, whole
from firmware_sim.trial import Limit, Shown

_POSITIONS = 24  # places at which a link is cut


class NotApplicable(Exception):
    """A rule says nothing of this device; the text is the reason."""


def complete(
    case: Case, visits: list[Visit], shown: list[Shown], *, ends_well: bool = True
) -> list[str]:
    """Return what visits lack, or have too much, against what was shown."""
    problems = right(case, visits, shown)
    told = case.reader.told(joined(visits).seen)
    if lost := case.reader.truth(shown) - told:
        ended = visits[-1].error
        why = f", ended by {ended}" if ended is not None else ""
        problems.append(f"lacks {lists(lost)}{why}")
    elif ends_well and visits[-1].error is not None:
        problems.append(f"ends with {visits[-1].error}")
    return problems


def silent(case: Case, visits: list[Visit], shown: list[Shown]) -> list[str]:
    """Return which visits lack readings, and end as if they had brought all."""
    if not case.asks or case.driver.once_only:
        return []  # who only listens can't know what did not come
    problems = []
    for count, visit in enumerate(visits, 1):
        told = case.reader.told(joined(visits[:count]).seen)
        lost = case.reader.truth(shown) - told
        is_told = visit.error is not None or bool(visit.of(Undecoded))
        is_told |= any(isinstance(one, Exception) for one in visit.link.noted)
        if lost and not is_told:
            problems.append(f"visit {count} ends well, and lacks {lists(lost)}")
    return problems


def misplaced(case: Case, visit: Visit, shown: list[Shown]) -> list[str]:
    """Return what readings came without what belongs to them, or with too much."""
    keys = {key for context in case.trial.contexts for key in context}
    problems = []
    for one in shown:
        (fact,) = case.reader.truth([one])
        found = [seen for seen in visit.seen if fact in case.reader.told([seen])]
        if not found:
            continue
        said = {key: value for key, value in found[0].context if key in keys}
        if said != one.context:
            text = f"{lists([fact])} was shown with {dict(one.context)}"
            problems.append(f"{text}, told with {said}")
    return problems


def misjudged(case: Case, visit: Visit, shown: list[Shown]) -> list[str]:
    """Return what readings came with another status than the device gave them."""
    problems = []
    for one in shown:
        (fact,) = case.reader.truth([one])
        # HI and LO may be bits of the status, too.
        may_say_more = any(isinstance(number, Limit) for number in one.values.values())
        for seen in visit.seen:
            said, given = Counter(seen.status), Counter(one.status)
            is_right = given <= said if may_say_more else given == said
            if not is_right and fact in case.reader.told([seen]):
                text = f"{lists([fact])} was shown with the status {one.status}"
                problems.append(f"{text}, told with {seen.status}")
    return problems


def right(case: Case, visits: list[Visit], shown: list[Shown]) -> list[str]:
    """Return what visits tell that nobody was shown, and how they broke."""
    problems = [f"breaks with {one.error!r}" for one in visits if one.is_broken]
    told: Counter[Fact] = case.reader.told(joined(visits).seen)
    if wrong := told - case.reader.truth(shown):
        problems.append(f"tells what nobody was shown: {lists(wrong)}")
    return problems


def broken(visit: Visit, what: str) -> list[str]:
    """Return how a visit broke, if it did."""
    return [f"{what} breaks it with {visit.error!r}"] if visit.is_broken else []


def ended(visit: Visit, what: str) -> list[str]:
    """Return how a visit ended, if not well."""
    if visit.error is None:
        return []
    return [f"{what} ends with {visit.error!r}"]


def spread(places: "range | list[int]") -> list[int]:
    """Return at most so many places, evenly spread, the first and the last too."""
    found = list(places)
    if len(found) <= _POSITIONS:
        return found
    return [
        found[at * (len(found) - 1) // (_POSITIONS - 1)] for at in range(_POSITIONS)
    ]


def joined(visits: list[Visit]) -> Visit:
    """Return several visits as one."""
    events = [event for visit in visits for event in visit.events]
    return Visit(visits[-1].link, events, visits[-1].error)


async def until_quiet(
    case: Case, visits: int, device: object = None, *, damage: Damage = whole
) -> list[Visit]:
    """Visit until one visit comes to its end, at most so often."""
    device = case.device() if device is None else device
    found: list[Visit] = []
    for _ in range(visits):
        terms = case.terms(joined(found)) if found else None
        found.append(await case.visit(device, terms, damage=damage))
        lost = case.reader.truth(case.shown) - case.reader.told(joined(found).seen)
        if found[-1].is_broken or (found[-1].error is None and not lost):
            break
    return found

"""Which readings must not wait, by the limits that clinicians use."""

from decimal import Decimal
from math import inf

import pytest

from edge_agent.urgency import Limits, Urgent
from protocols.observation import Kind, Observation, Quantity, State, Unit, Value

MG, MMOL, HG, KPA = Unit.MG_PER_DL, Unit.MMOL_PER_L, Unit.MM_HG, Unit.KILOPASCAL
GLUCOSE, PERCENT = Quantity.GLUCOSE, Unit.PERCENT
SYSTOLIC, DIASTOLIC = Quantity.SYSTOLIC, Quantity.DIASTOLIC
HI, LO = State.ABOVE_RANGE, State.BELOW_RANGE


def _seen(
    kind: Kind, *values: tuple[Quantity, str | State, Unit], limit: str | None = None
) -> Observation:
    return Observation(
        kind,
        tuple(
            Value(quantity, unit, Decimal(said))
            if isinstance(said, str)
            else Value(quantity, unit, None if limit is None else Decimal(limit), said)
            for quantity, said, unit in values
        ),
    )


def _pressure(systolic: str, diastolic: str, pulse: str = "70") -> Observation:
    return _seen(
        Kind.BLOOD_PRESSURE,
        (SYSTOLIC, systolic, HG),
        (DIASTOLIC, diastolic, HG),
        (Quantity.PULSE_RATE, pulse, Unit.PER_MINUTE),
    )


@pytest.mark.parametrize(
    ("seen", "urgent"),
    [
        (_seen(Kind.GLUCOSE, (GLUCOSE, "53", MG)), True),
        (_seen(Kind.GLUCOSE, (GLUCOSE, "54", MG)), False),
        (_seen(Kind.GLUCOSE, (GLUCOSE, "249", MG)), False),
        (_seen(Kind.GLUCOSE, (GLUCOSE, "250", MG)), True),
        (_seen(Kind.GLUCOSE, (GLUCOSE, "2.9", MMOL)), True),
        (_seen(Kind.GLUCOSE, (GLUCOSE, "3.0", MMOL)), False),
        (_seen(Kind.GLUCOSE, (GLUCOSE, "13.9", MMOL)), True),
        (_seen(Kind.GLUCOSE, (GLUCOSE, "0.00053", Unit.KG_PER_L)), True),
        (_seen(Kind.GLUCOSE, (GLUCOSE, HI, MG)), True),
        (_seen(Kind.GLUCOSE, (GLUCOSE, LO, MG)), True),
        # A limit beside HI or LO is not what was measured.
        (_seen(Kind.GLUCOSE, (GLUCOSE, HI, MG), limit="200"), True),
        (_seen(Kind.GLUCOSE, (GLUCOSE, LO, MG), limit="70"), True),
        (_seen(Kind.INTERSTITIAL_GLUCOSE, (GLUCOSE, "40", MG)), True),
        (_seen(Kind.GLUCOSE, (GLUCOSE, State.NOT_A_NUMBER, MG)), False),
        (_seen(Kind.GLUCOSE, (GLUCOSE, State.DEVICE_ERROR, MG)), False),
        (_seen(Kind.GLUCOSE, (GLUCOSE, State.NO_VALUE, MG)), False),
        # No person's.
        (_seen(Kind.CONTROL_SOLUTION, (GLUCOSE, "40", MG)), False),
        (_seen(Kind.CONTROL_SOLUTION, (GLUCOSE, LO, MG)), False),
        (_seen(Kind.KETONE, (Quantity.KETONE, "2.9", MMOL)), False),
        (_seen(Kind.KETONE, (Quantity.KETONE, "3.0", MMOL)), True),
        (_seen(Kind.KETONE, (Quantity.KETONE, LO, MMOL)), False),
        (_pressure("179", "119"), False),
        (_pressure("180", "80"), True),
        (_pressure("120", "120"), True),
        (_pressure("91", "50"), False),
        (_pressure("90", "50"), True),
        (_pressure("120", "80", "41"), False),
        (_pressure("120", "80", "40"), True),
        (_pressure("120", "80", "131"), True),
        (_seen(Kind.BLOOD_PRESSURE, (SYSTOLIC, "24.0", KPA)), True),
        (_seen(Kind.BLOOD_PRESSURE, (SYSTOLIC, "23.9", KPA)), False),
        (_seen(Kind.BLOOD_PRESSURE, (DIASTOLIC, LO, HG)), False),
        (
            _seen(
                Kind.OXYGEN_SATURATION,
                (Quantity.OXYGEN_SATURATION, "89", PERCENT),
            ),
            True,
        ),
        (
            _seen(
                Kind.OXYGEN_SATURATION,
                (Quantity.OXYGEN_SATURATION, "90", PERCENT),
            ),
            False,
        ),
        (
            _seen(
                Kind.BODY_TEMPERATURE,
                (Quantity.BODY_TEMPERATURE, "34.0", Unit.CELSIUS),
            ),
            False,
        ),
    ],
)
def test_what_is_beyond_its_limits_alarms(seen: Observation, *, urgent: bool) -> None:
    """Missed, an alarm waits a quarter of an hour on a metered link."""
    assert Urgent().asks_for(seen) is urgent


def test_limits_can_be_set_and_taken_away() -> None:
    """HI and LO obey too: a station of newborns has other limits."""
    low, high, lowest, highest = (
        _seen(Kind.GLUCOSE, (GLUCOSE, said, MG)) for said in ("60", "240", LO, HI)
    )
    never = Urgent(glucose=Limits(-inf, inf))
    assert [never.asks_for(seen) for seen in (low, high, lowest, highest)] == 4 * [
        False
    ]
    above = Urgent(glucose=Limits(-inf, 200))
    assert [above.asks_for(seen) for seen in (low, high, lowest, highest)] == [
        False, True, False, True,
    ]  # fmt: skip
    narrow = Urgent(glucose=Limits(70, 200))
    assert [narrow.asks_for(seen) for seen in (low, high, lowest, highest)] == 4 * [
        True
    ]

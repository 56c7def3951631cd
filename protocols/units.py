"""Canonical units: the one place where a value is ever converted.

A store, a filter and a chart compare values in mg/dL, mm[Hg] and /min. What the
device sent stays beside it, and nothing is rounded here.

Source: molar mass of glucose 180.156 g/mol, as LOINC uses it; 1 mmHg is
133.322 Pa (NIST SP 811, B.9); shifts between kg/L and mg/dL, and between mol/L
and mmol/L, are exact.
"""

from decimal import Decimal

from protocols.observation import Quantity, Unit, Value

_MG_PER_MMOL_GLUCOSE = Decimal("18.0156")
_MM_HG_PER_KILOPASCAL = Decimal("7.50062")

# By quantity and unit as sent: decimal places to shift, factor, canonical unit.
_WAYS: dict[tuple[Quantity, Unit], tuple[int, Decimal | None, Unit]] = {
    (Quantity.GLUCOSE, Unit.MG_PER_DL): (0, None, Unit.MG_PER_DL),
    (Quantity.GLUCOSE, Unit.KG_PER_L): (5, None, Unit.MG_PER_DL),
    (Quantity.GLUCOSE, Unit.MMOL_PER_L): (0, _MG_PER_MMOL_GLUCOSE, Unit.MG_PER_DL),
    (Quantity.GLUCOSE, Unit.MOL_PER_L): (3, _MG_PER_MMOL_GLUCOSE, Unit.MG_PER_DL),
    (Quantity.KETONE, Unit.MMOL_PER_L): (0, None, Unit.MMOL_PER_L),
    (Quantity.KETONE, Unit.MOL_PER_L): (3, None, Unit.MMOL_PER_L),
    (Quantity.PULSE_RATE, Unit.PER_MINUTE): (0, None, Unit.PER_MINUTE),
    **{
        (quantity, unit): (0, factor, Unit.MM_HG)
        for quantity in (
            Quantity.SYSTOLIC,
            Quantity.DIASTOLIC,
            Quantity.MEAN_PRESSURE,
        )
        for unit, factor in (
            (Unit.MM_HG, None),
            (Unit.KILOPASCAL, _MM_HG_PER_KILOPASCAL),
        )
    },
}


def measures(unit: Unit, quantity: Quantity) -> bool:
    """Whether the quantity can be given in the unit."""
    return (quantity, unit) in _WAYS


def canonical(value: Value) -> tuple[Decimal, Unit] | None:
    """Return a value in its quantity's canonical unit; None if it is no number.

    Raises:
        ValueError: The unit does not measure the quantity.
    """
    way = _WAYS.get((value.quantity, value.unit))
    if way is None:
        raise ValueError(f"{value.unit} does not measure {value.quantity}")
    if value.number is None:
        return None
    shift, factor, unit = way
    shifted = value.number.scaleb(shift)
    return (shifted if factor is None else shifted * factor), unit

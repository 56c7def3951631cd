"""Canonical units: the one place where a value is ever converted.

A store, a filter and a chart compare values in one unit for each quantity, as mg/dL,
mm[Hg] or Cel. What the device sent stays beside it, and nothing is rounded here.

Source: molar mass of glucose 180.156 g/mol, as LOINC uses it; 1 mmHg is
133.322 Pa (NIST SP 811, B.9); shifts between kg/L and mg/dL, and between mol/L
and mmol/L, are exact; so are 0.45359237 kg/[lb_av] and 0.0254 m/[in_i] (NIST SP 811),
and 4.184 kJ to the thermochemical kcal. Only [degF] to Cel, five ninths of the
difference to 32, may have no end, and is given to 28 digits.
"""

from decimal import Decimal

from protocols.observation import Quantity, Unit, Value

_MG_PER_MMOL_GLUCOSE = Decimal("18.0156")
_MM_HG_PER_KILOPASCAL = Decimal("7.50062")
_KG_PER_POUND = Decimal("0.45359237")
_M_PER_INCH = Decimal("0.0254")
_KJ_PER_KCAL = Decimal("4.184")

# By quantity and unit as sent: decimal places to shift, factor, canonical unit.
_WAYS: dict[tuple[Quantity, Unit], tuple[int, Decimal | None, Unit]] = {
    (Quantity.GLUCOSE, Unit.MG_PER_DL): (0, None, Unit.MG_PER_DL),
    (Quantity.GLUCOSE, Unit.KG_PER_L): (5, None, Unit.MG_PER_DL),
    (Quantity.GLUCOSE, Unit.MMOL_PER_L): (0, _MG_PER_MMOL_GLUCOSE, Unit.MG_PER_DL),
    (Quantity.GLUCOSE, Unit.MOL_PER_L): (3, _MG_PER_MMOL_GLUCOSE, Unit.MG_PER_DL),
    (Quantity.KETONE, Unit.MMOL_PER_L): (0, None, Unit.MMOL_PER_L),
    (Quantity.KETONE, Unit.MOL_PER_L): (3, None, Unit.MMOL_PER_L),
    (Quantity.PULSE_RATE, Unit.PER_MINUTE): (0, None, Unit.PER_MINUTE),
    (Quantity.GLUCOSE_RATE, Unit.MG_PER_DL_PER_MINUTE): (
        0,
        None,
        Unit.MG_PER_DL_PER_MINUTE,
    ),
    (Quantity.HEMATOCRIT, Unit.PERCENT): (0, None, Unit.PERCENT),
    (Quantity.HEMOGLOBIN, Unit.G_PER_DL): (0, None, Unit.G_PER_DL),
    (Quantity.URIC_ACID, Unit.MG_PER_DL): (0, None, Unit.MG_PER_DL),
    (Quantity.CHOLESTEROL, Unit.MG_PER_DL): (0, None, Unit.MG_PER_DL),
    (Quantity.TRIGLYCERIDES, Unit.MG_PER_DL): (0, None, Unit.MG_PER_DL),
    (Quantity.LACTATE, Unit.MMOL_PER_L): (0, None, Unit.MMOL_PER_L),
    (Quantity.OXYGEN_SATURATION, Unit.PERCENT): (0, None, Unit.PERCENT),
    (Quantity.BODY_TEMPERATURE, Unit.CELSIUS): (0, None, Unit.CELSIUS),
    (Quantity.BODY_HEIGHT, Unit.METRE): (0, None, Unit.METRE),
    (Quantity.BODY_HEIGHT, Unit.INCH): (0, _M_PER_INCH, Unit.METRE),
    (Quantity.BODY_MASS_INDEX, Unit.KG_PER_M2): (0, None, Unit.KG_PER_M2),
    (Quantity.BODY_FAT, Unit.PERCENT): (0, None, Unit.PERCENT),
    (Quantity.MUSCLE, Unit.PERCENT): (0, None, Unit.PERCENT),
    (Quantity.BASAL_METABOLISM, Unit.KILOJOULE): (0, None, Unit.KILOJOULE),
    (Quantity.BASAL_METABOLISM, Unit.KILOCALORIE): (0, _KJ_PER_KCAL, Unit.KILOJOULE),
    (Quantity.BODY_IMPEDANCE, Unit.OHM): (0, None, Unit.OHM),
    **{
        (quantity, unit): (0, factor, Unit.KILOGRAM)
        for quantity in (
            Quantity.BODY_WEIGHT,
            Quantity.MUSCLE_MASS,
            Quantity.FAT_FREE_MASS,
            Quantity.SOFT_LEAN_MASS,
            Quantity.BODY_WATER_MASS,
        )
        for unit, factor in ((Unit.KILOGRAM, None), (Unit.POUND, _KG_PER_POUND))
    },
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

_IN_FAHRENHEIT = Quantity.BODY_TEMPERATURE, Unit.FAHRENHEIT


def measures(unit: Unit, quantity: Quantity) -> bool:
    """Whether the quantity can be given in the unit."""
    return (quantity, unit) in _WAYS or (quantity, unit) == _IN_FAHRENHEIT


def canonical(value: Value) -> tuple[Decimal, Unit] | None:
    """Return a value in its quantity's canonical unit; None if it is no number.

    Raises:
        ValueError: The unit does not measure the quantity.
    """
    if (value.quantity, value.unit) == _IN_FAHRENHEIT:
        if value.number is None:
            return None
        return (value.number - 32) * 5 / 9, Unit.CELSIUS
    way = _WAYS.get((value.quantity, value.unit))
    if way is None:
        raise ValueError(f"{value.unit} does not measure {value.quantity}")
    if value.number is None:
        return None
    shift, factor, unit = way
    shifted = value.number.scaleb(shift)
    return (shifted if factor is None else shifted * factor), unit

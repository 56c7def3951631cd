"""Which readings can't wait for others: values beyond limits that alarm a clinician.

What HI and LO say is beyond every limit. Control solution is no person's and never
urgent; body weight and temperature have no limit here. A flag of the station's
filters changes nothing: a value that nobody can have is as urgent as it reads.

Source: glucose below 54 mg/dL is level 2 hypoglycaemia (American Diabetes
Association, Standards of Care in Diabetes, section 6), above 250 mg/dL level 2
hyperglycaemia (Battelino et al., Diabetes Care 2019;42:1593); ketones from
3.0 mmol/L are a criterion of ketoacidosis (Umpierrez et al., Diabetes Care
2024;47:1257); above 180 or 120 mmHg is a hypertensive crisis (2017 ACC/AHA
guideline, section 11.2); a systolic pressure up to 90 mmHg and a pulse up to 40 or
from 131 per minute score 3 in NEWS2 (Royal College of Physicians, 2017); oxygen
saturation below 90 % is severe (WHO, Clinical management of COVID-19).
"""

from math import inf

import msgspec

from protocols.observation import Kind, Observation, Quantity, State, Value
from protocols.units import canonical


class Limits(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """From which values on a quantity alarms, in its canonical unit.

    Attributes:
        below: A value below it alarms, and LO; none does where it is -inf.
        at_least: A value of it or above alarms, and HI; none does where it is inf.

    Raises:
        ValueError: The first is not below the second.
    """

    below: float
    at_least: float

    def __post_init__(self) -> None:
        if not self.below < self.at_least:
            raise ValueError(
                f"[{self.below}, {self.at_least}] are no limits; write the lower first"
            )

    def are_broken_by(self, value: Value) -> bool:
        """Whether ``value`` is beyond them."""
        match value.state:
            case State.ABOVE_RANGE:
                number = inf
            case State.BELOW_RANGE:
                number = -inf
            case State.MEASURED if (found := canonical(value)) is not None:
                number = float(found[0])
            case _:
                return False
        return number < self.below or (number >= self.at_least and self.at_least < inf)


class Urgent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of each quantity that has any.

    Attributes:
        glucose: mg/dL, of blood and under the skin.
        ketone: mmol/L.
        systolic: mmHg.
        diastolic: mmHg.
        pulse_rate: Per minute.
        oxygen_saturation: Percent.
    """

    glucose: Limits = Limits(54, 250)
    ketone: Limits = Limits(-inf, 3.0)
    systolic: Limits = Limits(91, 180)
    diastolic: Limits = Limits(-inf, 120)
    pulse_rate: Limits = Limits(41, 131)
    oxygen_saturation: Limits = Limits(90, inf)

    def asks_for(self, observation: Observation) -> bool:
        """Whether ``observation`` must not wait."""
        if observation.kind == Kind.CONTROL_SOLUTION:
            return False
        of = {
            Quantity.GLUCOSE: self.glucose,
            Quantity.KETONE: self.ketone,
            Quantity.SYSTOLIC: self.systolic,
            Quantity.DIASTOLIC: self.diastolic,
            Quantity.PULSE_RATE: self.pulse_rate,
            Quantity.OXYGEN_SATURATION: self.oxygen_saturation,
        }
        return any(
            limits.are_broken_by(value)
            for value in observation.values
            if (limits := of.get(value.quantity)) is not None
        )

"""Devices' clocks by the column: what they show, and how they order."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int64]

_DAY_S = 86_400


class Clocks(NamedTuple):
    """What clocks show, each of shape (n,), of the years 1582 to 9999."""

    year: I8
    month: I8
    day: I8
    hour: I8
    minute: I8
    second: I8

    @classmethod
    def of(cls, clock_s: I8) -> "Clocks":
        """Return what clocks of these s since 1970 show."""
        days, second = np.divmod(clock_s, _DAY_S)
        date = days.astype("datetime64[D]")
        month = date.astype("datetime64[M]")
        day = (date - month.astype("datetime64[D]")).astype(np.int64) + 1
        year, months = np.divmod(month.astype(np.int64), 12)
        minute, second = np.divmod(second, 60)
        hour, minute = np.divmod(minute, 60)
        return cls(year + 1970, months + 1, day, hour, minute, second)

    def packed(self) -> I8:
        """Return the `observation.packed_time` of each."""
        found = self.year
        for part in self[1:]:
            found = found << 8 | part
        return found

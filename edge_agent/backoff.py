"""When to try again."""

_FIRST_S = 2.0
_MOST_S = 300.0


def delay_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row, in s.

    >>> [delay_s(failures) for failures in (1, 2, 3, 9)]
    [2.0, 4.0, 8.0, 300.0]
    """
    return min(_FIRST_S * 2.0 ** min(failures - 1, 16), _MOST_S)

"""Noise levels of the flow-matching schedule, between 0 (clean) and 1 (pure noise)."""


def spread_sigmas(count: int, shift: float = 3.0) -> tuple[float, ...]:
    """`count` noise levels that follow a schedule of this shift, spread so evenly that the first few do so too.

    The van der Corput sequence u = 1/2, 1/4, 3/4, 1/8, ... through `shifted`; with the shift 3, 0.75 comes first.
    """
    return tuple(shifted(int(format(n, "b")[::-1], 2) / 2 ** n.bit_length(), shift) for n in range(1, count + 1))


def shifted(u: float, shift: float = 3.0) -> float:
    """The noise level at the share `u` of a schedule with this shift: shift u / (1 + (shift - 1) u)."""
    return shift * u / (1 + (shift - 1) * u)

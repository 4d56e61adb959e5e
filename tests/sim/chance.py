"""What chance makes likely."""

from __future__ import annotations

from math import comb

__all__ = ["interval"]


def interval(count: int, chance: float, confidence: float) -> tuple[int, int]:
    """Within which a binomially distributed number lies, with as little likelihood to either side."""
    outside = (1 - confidence) / 2
    below, least, most = 0.0, 0, count
    for number in range(count + 1):
        likelihood = comb(count, number) * chance**number * (1 - chance) ** (count - number)
        if below + likelihood <= outside:
            least = number + 1
        if below + likelihood >= 1 - outside:
            most = number
            break
        below += likelihood
    return least, most

"""Ratios of measures; a ratio with denominator 0 is undefined."""

from __future__ import annotations

SMALLEST = 1e-12  # a smaller denominator counts as 0


def ratio(numerator: float, denominator: float) -> float | None:
    """numerator / denominator; None, which is null in JSON, if the denominator is 0 up to rounding."""
    return float(numerator / denominator) if denominator > SMALLEST else None


def formatted(value: float | None, form: str = ".2f") -> str:
    """A measure as text in a format such as ".2f"; "-" for None."""
    return "-" if value is None else format(value, form)

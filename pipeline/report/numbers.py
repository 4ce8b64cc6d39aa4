"""Numbers as people read them."""

from __future__ import annotations

MINUS, MISSING = "\u2212", "\u2013"  # a true minus is as wide as the plus; a dash says "not measured"


def percent(share: float | None, digits: int = 1) -> str:
    """0.8412 -> '84.1'. The unit stands in the head of the column."""
    return MISSING if share is None else f"{100 * share:.{digits}f}".replace("-", MINUS)


def points(difference: float | None) -> str:
    """0.023 -> '+2.3': a difference of two shares, in percentage points."""
    return MISSING if difference is None else f"{100 * difference:+.1f}".replace("-", MINUS)


def decimal(value: float | None, digits: int = 3) -> str:
    return MISSING if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def count(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """11_173_962 -> '11.2 M'."""
    if value is None:
        return MISSING
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}\u202f{letter}"
    return f"{value:.0f}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return MISSING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def clip(text: str, length: int) -> str:
    """At most `length` characters; the middle goes, since both ends tell names apart."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}\u2026{text[-tail:]}"

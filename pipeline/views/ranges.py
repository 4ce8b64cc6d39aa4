"""What the arguments of the ops may be. An op annotates its fields with these, and the parser reads them there."""

from __future__ import annotations

from typing import Annotated, NamedTuple


class Range(NamedTuple):
    low: float
    high: float
    whole: bool = False

    def __str__(self) -> str:
        return f"a {'whole ' * self.whole}number from {self.low:g} to {self.high:g}"


Share = Annotated[float, Range(0, 1)]
Strength = Annotated[float, Range(0, 2)]  # half-width of a factor around 1
Turn = Annotated[float, Range(0, 0.5)]  # half-width of a shift of hue; 1 is the whole circle
Degrees = Annotated[float, Range(0, 180)]
Tilt = Annotated[float, Range(0, 80)]  # degrees of shear: at 90 the image is a line
Scale = Annotated[float, Range(0.01, 100)]
Magnitude = Annotated[int, Range(0, 10, whole=True)]
Count = Annotated[int, Range(1, 100, whole=True)]
Side = Annotated[float, Range(0.01, 4096)]  # up to 1 a share of the view's side, above it pixels

"""Just enough SVG for charts that take their colours and letters from the page, so they are dark when it is dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, floor, log10

from markupsafe import Markup, escape

Span = tuple[float, float]


def number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def tag(name: str, *inside: str | Markup, **attributes: str | float) -> Markup:
    """<name attributes>inside</name>, all but Markup escaped. class_ is class, font_size is font-size."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(number(v) if isinstance(v, int | float) else v)}"'
        for key, v in attributes.items()
    )
    return Markup(f"<{name}{written}>{''.join(map(escape, inside))}</{name}>")  # noqa: S704 - all parts are escaped


def drawing(
    width: float, height: float, label: str, parts: Iterable[Markup], class_: str = "chart", least: float = 0
) -> Markup:
    """A whole picture; a screen reader says `label` in its place. It never shrinks below `least` of its width."""
    style = f"max-width:{number(width * 1.1)}px" + (f";min-width:{number(width * least)}px" if least else "")
    size = {"viewBox": f"0 0 {number(width)} {number(height)}", "style": style}
    return tag("svg", *parts, class_=class_, role="img", aria_label=label, **size)


def text(x: float, y: float, words: str, class_: str = "", anchor: str = "start", **more: str | float) -> Markup:
    return tag("text", words, x=x, y=y, class_=class_, text_anchor=anchor, **more)


def ticks(lo: float, hi: float, about: int = 4) -> list[float]:
    """Round numbers from lo to hi: steps of 1, 2, 2.5 or 5 times a power of ten."""
    if hi <= lo:
        return [lo]
    raw = (hi - lo) / about
    power = 10 ** floor(log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if raw <= m * power * 1.0001)
    found = [step * i for i in range(ceil(lo / step - 1e-9), floor(hi / step + 1e-9) + 1)]
    return [round(v, 12) for v in found]


def plain(value: float) -> str:
    """A tick: 12k, 0.05, 3."""
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"


class Plot:
    """A frame with axes. Lengths are those of the page at full width; x and y are in the units of the data."""

    def __init__(self, width: float, height: float, x: Span, y: Span, left: float = 44, right: float = 18):
        self.width, self.height, self.x, self.y = width, height, x, y
        self.left, self.right, self.top, self.bottom = left, width - right, 10, height - 38
        self.parts: list[Markup] = []

    def at_x(self, value: float) -> float:
        return self.left + (value - self.x[0]) / ((self.x[1] - self.x[0]) or 1) * (self.right - self.left)

    def at_y(self, value: float) -> float:
        return self.bottom - (value - self.y[0]) / ((self.y[1] - self.y[0]) or 1) * (self.bottom - self.top)

    def axes(self, x_name: str, y_name: str, x: Sequence[float], y: Sequence[float], share: str = "") -> Plot:
        """Grid lines at `y`, ticks at both, names of the axes; axes named in `share` are printed in percent."""
        for value in y:
            shown = f"{100 * value:g}" if "y" in share else plain(value)
            self.parts += [
                tag("line", x1=self.left, x2=self.right, y1=self.at_y(value), y2=self.at_y(value), class_="grid"),
                text(self.left - 6, self.at_y(value) + 4, shown, "tick", "end"),
            ]
        for value in x:
            shown = f"{100 * value:g}" if "x" in share else plain(value)
            self.parts += [
                tag(
                    "line", x1=self.at_x(value), x2=self.at_x(value), y1=self.bottom, y2=self.bottom + 4, class_="rule"
                ),
                text(self.at_x(value), self.bottom + 16, shown, "tick", "middle"),
            ]
        middle = (self.top + self.bottom) / 2
        self.parts += [
            tag("line", x1=self.left, x2=self.right, y1=self.bottom, y2=self.bottom, class_="rule"),
            text((self.left + self.right) / 2, self.height - 5, x_name, "axis", "middle"),
            text(12, middle, y_name, "axis", "middle", transform=f"rotate(-90 12 {number(middle)})"),
        ]
        return self

    def line(self, points: Sequence[tuple[float, float]], colour: str, dash: str = "", dots: bool = False) -> Plot:
        path = " ".join(f"{number(self.at_x(x))},{number(self.at_y(y))}" for x, y in points)
        self.parts.append(
            tag("polyline", points=path, class_="line", style=f"stroke:var(--{colour})", stroke_dasharray=dash)
        )
        for x, y in points if dots or len(points) == 1 else ():
            self.parts.append(tag("circle", cx=self.at_x(x), cy=self.at_y(y), r=2.5, style=f"fill:var(--{colour})"))
        return self

    def bar(self, x: Span, y: Span, class_: str, colour: str, about: str = "") -> Plot:
        """A rectangle in the units of the data; `about` appears under the pointer."""
        left, top = self.at_x(x[0]), self.at_y(max(y))
        sizes = {"width": self.at_x(x[1]) - left, "height": self.at_y(min(y)) - top}
        inside = [tag("title", about)] if about else []
        style = f"--c:var(--{colour})"
        self.parts.append(tag("rect", *inside, x=left, y=top, class_=class_, style=style, **sizes))
        return self

    def draw(self, label: str) -> Markup:
        """On a narrow screen the letters of a wide plot are larger, as it is smaller."""
        return drawing(self.width, self.height, label, self.parts, "chart wide" if self.width > 400 else "chart")

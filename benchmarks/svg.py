"""Line plots as SVG without a library, for a few points and a few series."""

from collections.abc import Mapping, Sequence
from html import escape
from math import floor, log10

WIDTH, HEIGHT = 520, 320
"""Units of the SVG's view box, like all lengths here."""
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 58, 48
"""The margins around the plot's area."""
COLOURS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df")
_STYLE = "font-family='system-ui, sans-serif' font-size='12' fill='#57606a'"


def line_plot(
    title: str,
    x_label: str,
    y_label: str,
    points: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
) -> str:
    """Return an SVG document with one line per series, by name, over evenly spaced points.

    `points` are the labels on the x axis; each series has one value for each of them, or
    None where it has no value. The y axis starts at 0.
    """
    values = [value for row in series.values() for value in row if value is not None]
    ticks = _ticks(max(values, default=1.0))
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(index: int) -> float:
        return LEFT + inner_width * (index + 0.5) / len(points)

    def y(value: float) -> float:
        return TOP + inner_height * (1 - value / ticks[-1])

    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' {_STYLE}>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>",
        _text(LEFT, 20, title, "font-size='14' font-weight='600' fill='#24292f'"),
        _text(LEFT + inner_width / 2, HEIGHT - 8, x_label, "text-anchor='middle'"),
        _text(LEFT, TOP - 6, y_label, "font-size='11'"),
    ]
    for tick in ticks:
        height = f"y1='{y(tick):.1f}' y2='{y(tick):.1f}'"
        parts.append(f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' {height} stroke='#d8dee4'/>")
        parts.append(_text(LEFT - 6, y(tick) + 4, f"{tick:,.10g}", "text-anchor='end'"))
    for index, point in enumerate(points):
        parts.append(_text(x(index), HEIGHT - BOTTOM + 16, point, "text-anchor='middle'"))
    for number, (name, row) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        dots = [(x(i), y(value)) for i, value in enumerate(row) if value is not None]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in dots)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [f"<circle cx='{a:.1f}' cy='{b:.1f}' r='3' fill='{colour}'/>" for a, b in dots]
        parts.append(_text(LEFT + number * 150, 37, f"● {name}", f"fill='{colour}'"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, attributes: str) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' {attributes}>{escape(text)}</text>"


def _ticks(highest: float) -> list[float]:
    """Return a few round numbers at equal steps, from 0 to just above `highest`."""
    power = 10 ** floor(log10(highest)) if highest > 0 else 1
    step = next(power * part for part in (0.2, 0.25, 0.5, 1, 2) if highest / (power * part) <= 6)
    return [step * index for index in range(int(highest / step) + 2)]

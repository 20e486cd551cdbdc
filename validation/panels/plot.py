"""Small pictures in SVG: marks in the units of the data, coordinates rounded to a tenth of a pixel.

A mark is a function of where points of the data lie on the picture. Its kind is a class of the style sheet:
``a`` is what the audited function computed, ``b`` what it is compared with, ``g`` what is given.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

import numpy as np

from refwfm.measures import Gaussian

Place = Callable[[np.ndarray], np.ndarray]
"""From points of the data, shape (n, 2), to pixels."""
Mark = Callable[[Place], str]
Range = tuple[float, float]

WIDTH, HEIGHT = 320.0, 200.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 8.0, 34.0


# Marks


def line(points: np.ndarray, kind: str = "a", /) -> Mark:
    """A line through points, shape (n, 2)."""
    return lambda place: f'<path class="{kind}" d="{_through(place(np.asarray(points)))}"/>'


def curve(x: Iterable[float], y: Iterable[float], kind: str = "a", /) -> Mark:
    """The line of a function; what is not finite is left out."""
    points = np.stack([np.asarray(list(x), float), np.asarray(list(y), float)], axis=-1)
    return line(points[np.all(np.isfinite(points), axis=-1)], kind)


def dots(points: np.ndarray, kind: str = "a", /, *, radius: float = 2.5) -> Mark:
    """Points, shape (n, 2): lines of no length with round ends, all in one path."""

    def mark(place: Place) -> str:
        where = " ".join(f"M{_pair(point)}h0" for point in place(np.asarray(points)))
        return f'<path class="dot {kind}" stroke-width="{2 * radius:g}" d="{where}"/>'

    return mark


def arrows(starts: np.ndarray, ends: np.ndarray, kind: str = "a", /) -> Mark:
    """Lines from starts to ends, shape (n, 2) each, with a dot at the end."""

    def mark(place: Place) -> str:
        pairs = zip(place(np.asarray(starts)), place(np.asarray(ends)), strict=True)
        return f'<path class="{kind}" d="{"".join(_through(np.stack(pair)) for pair in pairs)}"/>'

    points = dots(ends, kind, radius=1.8)
    return lambda place: mark(place) + points(place)


def ellipse(mu: Gaussian, kind: str = "a", /) -> Mark:
    """One and a half standard deviations of a Gaussian in the plane."""
    cov = np.asarray(mu.cov)
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    if values[0] < -1e-9 * max(abs(values[-1]), 1.0):
        return words(mu.mean, "no covariance", kind, anchor="middle")
    axes = (
        1.5 * vectors.T * np.sqrt(np.maximum(values, 0.0))[:, None]
    )  # for a picture: rounding has no length

    def mark(place: Place) -> str:
        centre, short, long = place(np.asarray(mu.mean) + np.stack([np.zeros(2), *axes]))
        along, across = long - centre, short - centre
        angle = math.degrees(math.atan2(along[1], along[0]))
        rx, ry = (max(np.hypot(*each), 0.1) for each in (along, across))  # of no width none is drawn
        return (
            f'<ellipse class="{kind}" rx="{_short(rx)}" ry="{_short(ry)}" '
            f'transform="translate({_pair(centre)})rotate({angle:.1f})"/>'
        )

    return mark


def cells(matrix: np.ndarray, x: Sequence[float], y: Sequence[float], kind: str = "a", /) -> Mark:
    """Entries of a matrix as squares at (x_j, y_i), darker the larger, in five steps of the largest."""
    values = np.asarray(matrix, float)
    largest = float(np.max(values)) or 1.0
    steps = np.rint(5.0 * np.minimum(values / largest, 1.0))
    width, height = abs(x[1] - x[0]), abs(y[1] - y[0])

    def mark(place: Place) -> str:
        paths = []
        for step in range(1, 6):
            rows, columns = np.nonzero(steps == step)
            centre = np.stack([np.asarray(x)[columns], np.asarray(y)[rows]], axis=-1)
            half = np.array([width, height]) / 2
            low, high = place(centre - half), place(centre + half)
            where = "".join(
                f"M{_pair(a)}H{_short(b[0])}V{_short(b[1])}H{_short(a[0])}z"
                for a, b in zip(low, high, strict=True)
            )
            paths += [f'<path class="cell {kind}" opacity="{step / 5:g}" d="{where}"/>'] if where else []
        return "".join(paths)

    return mark


def words(at: Sequence[float], text: str, kind: str = "g", /, *, anchor: str = "start") -> Mark:
    """Text that begins, ends or has its middle at a point."""

    def mark(place: Place) -> str:
        x, y = place(np.asarray(at, float)[None, :])[0]
        return _label(x, y, text, anchor, kind)

    return mark


# Pictures


def plane(marks: Sequence[Mark], /, *, x: Range, y: Range) -> str:
    """Marks in the plane, both axes in one unit, without axes."""
    scale = min(WIDTH / (x[1] - x[0]), HEIGHT / (y[1] - y[0]))
    centre, middle = np.array([np.mean(x), np.mean(y)]), np.array([WIDTH, HEIGHT]) / 2

    def place(points: np.ndarray) -> np.ndarray:
        return middle + scale * (points.reshape(-1, 2) - centre) * [1.0, -1.0]

    return _svg(mark(place) for mark in marks)


def chart(marks: Sequence[Mark], /, *, x: Range, y: Range, labels: tuple[str, str], log: str = "") -> str:
    """Marks between axes with ticks and labels; ``log``: which are logarithmic."""
    logs = ("x" in log, "y" in log)
    low, high = _scaled(np.array([x, y], float).T, logs)

    def place(points: np.ndarray) -> np.ndarray:
        share = (_scaled(points.reshape(-1, 2), logs) - low) / (high - low)
        share = np.clip(share, -0.05, 1.05)  # what lies far outside would make long numbers
        return np.stack(
            [
                LEFT + share[:, 0] * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - share[:, 1] * (HEIGHT - TOP - BOTTOM),
            ],
            axis=-1,
        )

    left, bottom, right, top = LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, TOP
    parts = [f'<path class="axis" d="M{left:g} {top:g}V{bottom:g}H{right:g}"/>']
    for value, name in _named(_ticks(*x, log=logs[0])):
        at = place(np.array([value, y[0]]))[0, 0]
        parts.append(_label(at, bottom + 13, name, "middle"))
    for value, name in _named(_ticks(*y, log=logs[1])):
        at = place(np.array([x[0], value]))[0, 1]
        parts.append(_label(left - 4, at + 3.5, name, "end"))
    parts.append(_label((left + right) / 2, HEIGHT - 5, labels[0], "middle"))
    parts.append(
        f'<text class="g" transform="translate(10 {_short((top + bottom) / 2)})rotate(-90)" '
        f'text-anchor="middle">{escape(labels[1])}</text>'
    )
    return _svg([*parts, *(mark(place) for mark in marks)])


def _svg(parts: Iterable[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" aria-hidden="true">{"".join(parts)}</svg>'


def _label(x: float, y: float, text: str, anchor: str, kind: str = "g") -> str:
    where = f'x="{_short(x)}" y="{_short(y)}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {where}>{escape(text)}</text>'


def _scaled(points: np.ndarray, logs: tuple[bool, bool]) -> np.ndarray:
    columns = [
        np.log10(np.where(column > 0, column, 1e-300)) if is_log else column
        for column, is_log in zip(points.T, logs, strict=True)
    ]
    return np.stack(columns, axis=-1)


def _ticks(low: float, high: float, *, log: bool) -> list[float]:
    """About four round numbers."""
    if log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        step = max(1, math.ceil((last - first) / 4))
        return [10.0**k for k in range(first, last + 1, step)]
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [
        round(k * step, 12) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def _named(ticks: list[float]) -> list[tuple[float, str]]:
    """Ticks and what is written at them: powers where one of them has no room otherwise."""
    names = [f"{value:g}" for value in ticks]
    if max(map(len, names), default=0) > 5:
        parts = [f"{value:.0e}".split("e") for value in ticks]
        names = [f"{digit}e{int(power)}" if float(digit) else "0" for digit, power in parts]
    return list(zip(ticks, names, strict=True))


def _through(pixels: np.ndarray) -> str:
    return "M" + "L".join(map(_pair, pixels)) if len(pixels) else ""


def _pair(pixel: np.ndarray) -> str:
    return f"{_short(pixel[0])} {_short(pixel[1])}"


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")

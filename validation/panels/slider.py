"""A slider of the report: an audited function, the numbers it is asked with, how an answer is drawn."""

import json
import warnings
from collections.abc import Callable, Iterator
from html import escape
from typing import Any, NamedTuple

import numpy as np

from refwfm.validation.check import Item
from refwfm.validation.panels.plot import Mark, Range, chart, curve, dots

Function = Callable[..., Any]


class Frame(NamedTuple):
    """A picture, and in words the numbers that it shows."""

    svg: str
    says: str


class Slider(NamedTuple):
    """A function at a few numbers, drawn.

    Attributes
    ----------
    item, function : str
        A formula of the ledger, and the name of one of its functions.
    title, note : str
        What it is about, and what there is to see.
    name : str
        What the slider changes.
    values : tuple of float
    draw : callable
        ``draw(function, value)`` with the audited function or a wrong variant of it.
    wrong : tuple of str
        Wrong variants of the ledger to draw as well.
    best : int
        Number of the frame to show first.
    """

    item: str
    function: str
    title: str
    note: str
    name: str
    values: tuple[float, ...]
    draw: Callable[[Function, Any], Frame]
    wrong: tuple[str, ...] = ()
    best: int = 3


def audited(slider: Slider, item: Item, /) -> Function:
    """The function of the ledger's item that a slider asks."""
    return next(function for function in item.functions if function.__name__ == slider.function)


def wrong_variants(slider: Slider, item: Item, /) -> dict[str, Function]:
    """The wrong variants that a slider draws, as the ledger has them."""
    known = {
        variant: control
        for check in reversed(item.checks)  # of those of one name, that of the first check
        if getattr(check.implementation, "__name__", "") == slider.function
        for variant, control in check.controls.items()
    }
    return {variant: known[variant] for variant in slider.wrong if variant in known}


def figure(slider: Slider, item: Item, /) -> str:
    """HTML of a slider: its frames, of which one is shown, and those of each wrong variant to be opened.

    Where a function cannot answer, or gives what cannot be drawn, the frame says so.
    """
    wrong = [
        f'<details class="wrong" name="{_anchor(slider)}"><summary>{escape(variant)}</summary>'
        f'<div class="frames bad">{_shown(slider, frames(slider, control))}</div></details>'
        for variant, control in wrong_variants(slider, item).items()
    ]
    label = escape(slider.name)
    beside = f'<div><p class="soft">Wrong variants:</p>{"".join(wrong)}</div>' if wrong else ""
    return (
        f'<section class="panel" id="{_anchor(slider)}"><h4>{escape(slider.title)}</h4>'
        f'<p class="soft">{escape(slider.note)}</p><div class="beside"><div>'
        f'<div class="frames">{_shown(slider, frames(slider, audited(slider, item)))}</div>'
        f'<label class="js">{label} <input type="range" min="0" max="{len(slider.values) - 1}" '
        f'value="{slider.best}"></label><output class="js" aria-live="polite"></output></div>'
        f"{beside}</div></section>"
    )


def _anchor(slider: Slider) -> str:
    text = f"slider-{slider.item}-{slider.function}-{slider.name}"
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text)


def frames(slider: Slider, function: Function, /) -> Iterator[Frame]:
    """Ask a function at all numbers of a slider."""
    for value in slider.values:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # wrong variants take roots of what has none
                yield slider.draw(function, value)
        except Exception as error:  # whatever a broken function raises is what there is to show
            yield Frame("", f"{slider.name} = {value:g}: nothing to draw. {type(error).__name__}: {error}")


def _shown(slider: Slider, drawn: Iterator[Frame]) -> str:
    """The best frame, and all of them as text, which a browser reads faster than pictures that are hidden."""
    every = [
        f'<div role="img" aria-label="{escape(frame.says)}">{frame.svg}<p>{escape(frame.says)}</p></div>'
        for frame in drawn
    ]
    text = json.dumps(every, ensure_ascii=False).replace("</", "<\\/")
    return f'{every[slider.best]}<script type="application/json">{text}</script>'


# What many of them draw


def alone(function: Function, /, *arguments: Any, **options: Any) -> Any:
    """Ask about one measure as a batch of one: the wrong variants of the ledger know batches only."""
    return _map(
        lambda array: array[0],
        function(*(_map(lambda array: array[None], each) for each in arguments), **options),
    )


def _map(change: Callable[[Any], Any], tree: Any) -> Any:
    """Change all arrays in nested tuples."""
    if isinstance(tree, np.ndarray):
        return change(tree)
    if isinstance(tree, tuple):
        changed = [_map(change, each) for each in tree]
        return type(tree)(*changed) if hasattr(tree, "_fields") else tuple(changed)
    return tree


def number(value: Any, /) -> str:
    """Three digits of what may be an array of one number."""
    return f"{float(np.asarray(value).reshape(-1)[0]):.3g}"


def pair(value: Any, /) -> str:
    """A point of the plane."""
    return "({:.2f}, {:.2f})".format(*np.asarray(value) + 0.0)  # -0 is 0


def marked(
    x: tuple[float, ...],
    y: list[Any],
    value: float,
    /,
    *,
    labels: tuple[str, str],
    range: Range,
    log: str = "",
    beside: tuple[Mark, ...] = (),
) -> Frame:
    """The curve of a number over all positions of the slider, with the present one."""
    numbers = [float(np.asarray(each).reshape(-1)[0]) for each in y]
    now = numbers[x.index(value)]
    marks = (*beside, curve(x, numbers), dots(np.array([[value, now]]), radius=4.5))
    svg = chart(marks, x=(min(x), max(x)), y=range, labels=labels, log=log)
    return Frame(svg, f"{labels[0]} = {value:g}: {labels[1]} {now:.3g}")

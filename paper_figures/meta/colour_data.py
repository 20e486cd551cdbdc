"""Colour clouds of the colour-transfer experiment: what the hypernetwork is trained on, what it never saw.

The paper's paintings may not be copied. Here are synthetic palettes, and regions of the photographs that
scikit-image and scikit-learn ship.
"""

from typing import NamedTuple

import numpy as np

from refwfm.datasets import palettes
from refwfm.training.randomness import random_stream

PALETTES, PHOTOGRAPHS = "palettes", "photographs"
TRAINED_ON = ("astronaut", "hubble", "rocket")
HELD_OUT = ("flower", "coffee", "chelsea", "china")
"""Photographs by name: none is in both."""

PHOTOGRAPH_PAIRS = (
    ("flower", "coffee"),
    ("chelsea", "china"),
    ("coffee", "china"),
    ("flower", "chelsea"),
    ("flower", "china"),
    ("coffee", "chelsea"),
)

SHARE = 0.25
"""Share of the training clouds that are regions of photographs, where there are any."""


class Pair(NamedTuple):
    """Two clouds of colours that no training has seen.

    Attributes
    ----------
    kind : str
        ``PALETTES`` or ``PHOTOGRAPHS``.
    names : tuple of str
    x, y : arrays, shape (n, 3)
    """

    kind: str
    names: tuple[str, str]
    x: np.ndarray
    y: np.ndarray


def photographs_of(names: tuple[str, ...], /) -> list[str]:
    """Those of the photographs that are there."""
    there = palettes.available_photographs()
    return [name for name in names if name in there]


def available() -> bool:
    """Whether there are photographs to train on, and a pair to try."""
    return len(photographs_of(TRAINED_ON)) > 0 and len(photographs_of(HELD_OUT)) > 1


def check(data: str, /) -> None:
    """Raise unless these data can be had: the error says what to install.

    Raises
    ------
    ModuleNotFoundError, FileNotFoundError
        If a photograph is missing, or the package that reads them.
    """
    if data == PHOTOGRAPHS:
        for name in (*TRAINED_ON, *HELD_OUT):
            palettes.photograph(name)


def training_clouds(data: str, count: int, n: int, /, *, seed: int) -> np.ndarray:
    """Clouds to train on, shape (count, n, 3): palettes, or these and regions of photographs."""
    rng = random_stream(seed, "scaling")
    names = photographs_of(TRAINED_ON) if data == PHOTOGRAPHS else []
    regions: list[np.ndarray] = []
    for i, name in enumerate(names):
        share = round(SHARE * count * (i + 1) / len(names)) - len(regions)
        picture = palettes.photograph(name)
        regions += [
            palettes.palette(region, n, rng=rng) for region in palettes.crops(picture, share, rng=rng)
        ]
    drawn = palettes.synthetic_palettes(count - len(regions), n, rng=rng)
    return np.concatenate([drawn, np.asarray(regions)]) if regions else drawn


def held_out_pairs(data: str, count: int, n: int, /) -> list[Pair]:
    """Pairs to try: of palettes, as many again of photographs; the same for all runs."""
    rng = random_stream(0, "generation")
    clouds = palettes.synthetic_palettes(2 * count, n, rng=rng)
    pairs = [
        Pair(PALETTES, (f"palette {2 * i + 1}", f"palette {2 * i + 2}"), clouds[2 * i], clouds[2 * i + 1])
        for i in range(count)
    ]
    if data == PHOTOGRAPHS:
        names = photographs_of(HELD_OUT)
        colours = {name: palettes.palette(palettes.photograph(name), n, rng=rng) for name in names}
        there = [pair for pair in PHOTOGRAPH_PAIRS if set(pair) <= set(names)]
        pairs += [Pair(PHOTOGRAPHS, pair, *(colours[name] for name in pair)) for pair in there[:count]]
    return pairs


def licences(data: str, /) -> list[str]:
    """One line for each photograph that is used: what it is for, who made it, its licence."""
    if data != PHOTOGRAPHS:
        return []
    said = []
    for purpose, names in (("trained on", TRAINED_ON), ("held out", HELD_OUT)):
        for name in photographs_of(names):
            of = palettes.PHOTOGRAPHS[name]
            ships = palettes.DISTRIBUTIONS[of.package]
            said.append(f"{name} ({purpose}): {of.author}, {of.licence}, shipped by {ships}")
    return said

"""Families of pairs of histograms by name: digits, drawn strokes, supply and demand on the sphere."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._pair_family import Floats, PairFamily
from refwfm.datasets.digits import read_mnist, read_usps
from refwfm.datasets.own_pairs import load_pair_file
from refwfm.datasets.pairs import (
    image_histograms,
    image_pairs,
    resize,
    sphere_pairs,
    sphere_points,
    stroke_images,
)
from refwfm.training.randomness import distinct_pairs, random_stream
from refwfm.transport.grids import unit_grid
from refwfm.transport.sphere import spherical_cost

IMAGE_EPS = 1e-2
SPHERE_EPS = 1e-3


class PairEntry(NamedTuple):
    """What the catalogue says about a family of pairs."""

    about: str
    atoms: str
    shipped: bool
    load: Callable[[], PairFamily]


def image_family(
    name: str, train: NDArray[Any], test: NDArray[Any], /, *, eps: float = IMAGE_EPS, about: str = ""
) -> PairFamily:
    """Pairs of images (N, h, w), drawn independently to train on, and distinct pairs of others to evaluate.

    Images are kept as they are and normalised when they are drawn: as histograms they would be larger.
    """
    if min(len(train), len(test)) < 2:
        raise ValueError(
            f"{name}: needs at least two images to train on and two to evaluate; got {len(train)} "
            f"and {len(test)}"
        )
    axes = unit_grid(train.shape[1:], like=np.zeros(0)).axes

    def draw(size: int, *, seed: int, step: int, stream: str) -> tuple[Floats, Floats]:
        if stream == "batch":
            first, second = image_pairs(train, size, seed=seed, step=step)
        else:
            first, second = test[distinct_pairs(random_stream(seed, stream, step), len(test), size)]
        return image_histograms(first), image_histograms(second)

    held_out = len(test) * (len(test) - 1)
    return PairFamily(
        name=name, draw=draw, eps=eps, axes=axes, numbers=(train, test), held_out=held_out, about=about
    )


def mnist_pairs() -> PairFamily:
    """Pairs of MNIST's digits, 28 x 28 pixels, from ``REFWFM_DATA``."""
    about = "pixels over their sum on the unit square; 60,000 images to train on, 10,000 held out"
    return image_family("mnist-pairs", read_mnist("train")[0], read_mnist("test")[0], about=about)


def usps_pairs() -> PairFamily:
    """Pairs of USPS digits, resized to MNIST's 28 x 28 pixels, from ``REFWFM_DATA``."""
    train, test = (resize(read_usps(split)[0], (28, 28)) for split in ("train", "test"))
    about = "resized from 16 x 16 pixels to 28 x 28; 7291 images to train on, 2007 held out"
    return image_family("usps-pairs", train, test, about=about)


def strokes(side: int = 14) -> PairFamily:
    """Pairs of drawn strokes, new ones at each step: no data are needed."""

    def draw(size: int, *, seed: int, step: int, stream: str) -> tuple[Floats, Floats]:
        drawn = image_histograms(stroke_images(2 * size, seed=seed, step=step, side=side, stream=stream))
        return drawn[:size], drawn[size:]

    axes = unit_grid((side, side), like=np.zeros(0)).axes
    about = "strokes of three segments each on the unit square, drawn anew at each step"
    return PairFamily(name="strokes", draw=draw, eps=IMAGE_EPS, axes=axes, about=about)


def sphere_family(supply: int = 100, demand: int = 1000, /, *, name: str = "sphere-pairs") -> PairFamily:
    """Supply and demand at fixed places of the sphere, with random weights at each step."""
    places = sphere_points(supply, demand)

    def draw(size: int, *, seed: int, step: int, stream: str) -> tuple[Floats, Floats]:
        return sphere_pairs(supply, demand, size, seed=seed, step=step, stream=stream)

    return PairFamily(
        name=name,
        draw=draw,
        eps=SPHERE_EPS,
        cost=spherical_cost(*places),
        points=(places.supply, places.demand),
        about=f"{supply} places of supply, half of them closed, and {demand} of demand; cost: angles",
    )


PAIRS: dict[str, PairEntry] = {
    "mnist-pairs": PairEntry("digits, MNIST", "28 x 28", False, mnist_pairs),
    "usps-pairs": PairEntry("digits, USPS, resized", "28 x 28", False, usps_pairs),
    "strokes": PairEntry("drawn strokes, new ones at each step", "14 x 14", True, strokes),
    "sphere-pairs": PairEntry("supply and demand on the sphere", "100, 1000", True, sphere_family),
}
"""Families of pairs, by name."""


def load_pairs(name: str | os.PathLike[str], /) -> PairFamily:
    """Load a family of pairs by name, or one's own from a file ending in ``.npz``.

    Raises
    ------
    ValueError
        If the name is unknown, or the file holds no pairs of histograms.
    OSError
        If a file is missing.
    """
    text = os.fspath(name)
    if text.lower().endswith(".npz"):
        return load_pair_file(text)
    if text not in PAIRS:
        raise ValueError(
            f"unknown family of pairs {text!r}: expected a path ending in .npz or one of {', '.join(PAIRS)}"
        )
    return PAIRS[text].load()

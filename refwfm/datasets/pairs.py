"""Pairs of histograms on shared atoms, for Meta OT: images, supply and demand on the sphere, drawn strokes.

A pair is two vectors of weights, each with sum 1; atoms and cost are the same for all pairs. Draws are keyed
by (seed, step): any batch of a run can be drawn again on its own.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets.digits import read_mnist, read_usps
from refwfm.datasets.images import _histograms
from refwfm.training.randomness import random_stream

Floats = NDArray[np.float64]

CONCENTRATION = 30.0
"""Of the caps that people live in: a standard deviation of about ten degrees."""


def image_histograms(images: Any, /) -> Floats:
    """Images (N, height, width) as weights (N, height · width), rows one after the other from the top.

    Their atoms are ``unit_grid((height, width))``.

    Raises
    ------
    ValueError
        If an image is all zero, or holds a negative number, NaN or infinity.
    """
    histograms = _histograms(images)
    return histograms.reshape(len(histograms), -1)


def mnist_histograms(split: str = "train", /) -> Floats:
    """MNIST's digits as histograms (N, 784): pixels over their sum. From ``REFWFM_DATA``."""
    return image_histograms(read_mnist(split)[0])


def usps_histograms(split: str = "test", /) -> Floats:
    """USPS digits, resized from 16 x 16 to MNIST's 28 x 28 pixels, as histograms (N, 784)."""
    return image_histograms(resize(read_usps(split)[0], (28, 28)))


def resize(images: Any, shape: tuple[int, int], /) -> Floats:
    """Images (N, h, w) in another size ``(N, *shape)``: linear between pixel centres, constant beyond."""
    images = np.asarray(images, np.float64)
    for axis, n in ((1, shape[0]), (2, shape[1])):
        size = images.shape[axis]
        centre = np.clip((np.arange(n) + 0.5) * size / n - 0.5, 0, size - 1)
        low = np.minimum(centre.astype(int), max(0, size - 2))
        high, share = np.minimum(low + 1, size - 1), centre - low
        share = share.reshape(-1, *(1,) * (2 - axis))
        images = (1 - share) * np.take(images, low, axis) + share * np.take(images, high, axis)
    return images


def image_pairs(
    images: NDArray[Any], size: int, /, *, seed: int, step: int, stream: str = "batch"
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw ``size`` pairs of rows, images or histograms, from a collection, independently and uniformly."""
    rng = random_stream(seed, stream, step)
    first, second = rng.integers(0, len(images), (2, size))
    return images[first], images[second]


def stroke_images(size: int, /, *, seed: int, step: int, side: int = 14, stream: str = "batch") -> Floats:
    """Images (size, side, side) of one stroke of three segments each, as soft as a pen: no data are needed.

    Equation: none. Brightness ``exp(-(distance / width)²)`` to the nearest segment.
    """
    rng = random_stream(seed, stream, step)
    knots = rng.uniform(0.15, 0.85, (size, 4, 2))
    start, end = knots[:, :-1, None], knots[:, 1:, None]
    centres = (np.stack(list(np.mgrid[:side, :side]), axis=-1).reshape(-1, 2) + 0.5) / side
    along = np.clip(np.sum((centres - start) * (end - start), -1) / np.sum((end - start) ** 2, -1), 0, 1)
    gap = np.linalg.norm(centres - start - along[..., None] * (end - start), axis=-1)
    images = np.exp(-((gap.min(axis=1) * 14) ** 2))
    return np.where(images < 0.05, 0.0, images).reshape(size, side, side)


class SpherePoints(NamedTuple):
    """Fixed places: unit vectors ``supply`` (m, 3) and ``demand`` (n, 3)."""

    supply: Floats
    demand: Floats


def sphere_points(supply: int, demand: int, /, *, seed: int = 0, caps: int = 12) -> SpherePoints:
    """Places of supply, uniform in the union of a few caps, and of demand, drawn from a population on them.

    The population is a mixture of von Mises-Fisher caps (of random sizes), a stand-in for the licensed raster
    of the paper. Supply ignores how many live in a cap, as the paper's ignores the density of a cell.
    """
    rng = random_stream(seed, "init")
    centres, shares = _unit(rng.standard_normal((caps, 3))), rng.dirichlet(np.ones(caps))
    places = (
        von_mises_fisher(centres[rng.choice(caps, count, p=p)], CONCENTRATION, rng=rng)
        for count, p in ((supply, np.full(caps, 1 / caps)), (demand, shares))
    )
    return SpherePoints(*places)


def von_mises_fisher(means: Floats, concentration: float, /, *, rng: np.random.Generator) -> Floats:
    """One unit vector for each mean direction (N, 3), with density proportional to ``exp(κ ⟨mean, x⟩)``."""
    u = rng.uniform(size=len(means))
    cos = 1.0 + np.log(u + (1 - u) * np.exp(-2 * concentration)) / concentration
    other = np.cross(means, _unit(rng.standard_normal(means.shape)))
    return cos[:, None] * means + np.sqrt(np.clip(1 - cos**2, 0, None))[:, None] * _unit(other)


def sphere_pairs(
    supply: int, demand: int, size: int, /, *, seed: int, step: int, stream: str = "batch"
) -> tuple[Floats, Floats]:
    """Draw weights of supply (size, supply) and demand (size, demand), each row with sum 1.

    Demand is U(0, 1) for each atom. Supply is U(0, 1) at half of the atoms, chosen by coins, which are thrown
    again where all are 0.
    """
    rng = random_stream(seed, stream, step)
    b = rng.uniform(size=(size, demand))
    open_ = rng.random((size, supply)) < 0.5
    while not (some := open_.any(axis=1)).all():
        open_[~some] = rng.random((int(np.sum(~some)), supply)) < 0.5
    a = open_ * (1.0 - rng.random((size, supply)))  # in (0, 1]: an open atom has weight
    return a / a.sum(axis=1, keepdims=True), b / b.sum(axis=1, keepdims=True)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

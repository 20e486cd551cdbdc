"""Families of circles in the plane: small ones, and larger ones above them.

The second paper shows learned paths between two such families and gives no numbers besides the 30 points of
a circle. These definitions are ours. The horizontal position of a circle is drawn at random in both families,
so that pairs drawn at random cross, and the optimal ones go straight up.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets.own_arrays import clouds_from_arrays

POINTS = 30
REACH = 2.0


class Circles(NamedTuple):
    """Law of a family of circles.

    Attributes
    ----------
    smallest, largest : float
        The radius is uniform between these.
    height : float
        Height of the centres; their horizontal position is uniform on ``[-REACH, REACH]``.
    """

    smallest: float
    largest: float
    height: float


LOW = Circles(0.15, 0.35, 0.0)
"""Where the flow starts."""

HIGH = Circles(0.4, 0.8, 3.0)
"""Where it goes."""

SIZES = {"train": 1024, "test": 256}


def circles(
    law: Circles = HIGH, /, *, n: int = SIZES["train"], n_points: int = POINTS, rng: np.random.Generator
) -> CloudFamily:
    """Circles of evenly spaced points, turned at random.

    Point k of member i is ``(u, h) + r (cos φ, sin φ)`` with ``φ = 2π (k + v) / n_points``, where u, v and
    the radius r are drawn for the member.

    Parameters
    ----------
    law : Circles
    n, n_points : int, at least 1
        Members, and points of each.
    rng : numpy.random.Generator

    Returns
    -------
    CloudFamily
        d = 2, no labels.
    """
    if n < 1 or n_points < 1:
        raise ValueError(f"n and n_points must be at least 1; got {n} and {n_points}")
    right = rng.uniform(-REACH, REACH, n)
    radius = rng.uniform(law.smallest, law.largest, n)
    turn = rng.random(n)
    angle = 2 * np.pi * (np.arange(n_points) + turn[:, None]) / n_points
    points = radius[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    points += np.stack([right, np.full(n, law.height)], axis=-1)[:, None, :]
    return clouds_from_arrays(
        points,
        name="circles",
        about=f"{n} circles of {n_points} points, of radius {law.smallest:g} to {law.largest:g} at height "
        f"{law.height:g}. The paper shows such families without numbers; these are ours. Units: none. "
        "Licence: none needed.",
    )


def load_circles(law: Circles, part: str = "train", /, *, name: str) -> CloudFamily:
    """The same circles every time: those to train on, or the held-out ones ("test")."""
    key = [int(law.height > 0), list(SIZES).index(part)]
    return replace(circles(law, n=SIZES[part], rng=np.random.default_rng(key)), name=name)

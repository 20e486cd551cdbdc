"""The catalogue: every family that ``load`` knows by name."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._family import Family
from refwfm.datasets.digits import load_fours
from refwfm.datasets.pbmc import load_pbmc
from refwfm.datasets.shipped import load_cities, load_niches
from refwfm.datasets.synthetic import sphere, spiral, two_moons


class Entry(NamedTuple):
    """A family that can be loaded, and its facts, known without loading it."""

    about: str
    size: int
    """Number of members N."""
    dimension: int
    n_labels: int
    """Number of classes; 0 when there are no labels."""
    shipped: bool
    """Whether nothing outside the package is needed."""
    load: Callable[[int], Family | CloudFamily]
    """Seed -> family."""
    sizes: tuple[int, int] | None = None
    """Of a family of clouds: points of its smallest and of its largest cloud. None: Gaussians."""
    held_out: str = ""
    """Name of the family with the members held out of this one, where there is one."""

    @property
    def kind(self) -> str:
        """What the members are: "Gaussians" or "clouds"."""
        return "Gaussians" if self.sizes is None else "clouds"


CATALOGUE: dict[str, Entry] = {
    "spiral-16": Entry("ellipses along a spiral", 16, 2, 0, True, lambda seed: spiral(16)),
    "spiral-128": Entry("ellipses along a spiral", 128, 2, 0, True, lambda seed: spiral(128)),
    "two-moons": Entry(
        "ellipses along two half circles, drawn with the seed",
        *(256, 2, 2, True),
        lambda seed: two_moons(rng=np.random.default_rng(seed)),
    ),
    "sphere": Entry("thin disks tangent to the unit sphere", 256, 3, 0, True, lambda seed: sphere()),
    "cities": Entry("US cities: the area within their limits", 100, 2, 0, True, lambda seed: load_cities()),
    "niches": Entry(
        "cell niches of the mouse hypothalamus, 40 neighbours, a sample",
        *(2500, 16, 16, True),
        lambda seed: load_niches(),
    ),
    "niches-16": Entry(
        "the same niches with 16 neighbours: singular covariances",
        *(2500, 16, 16, True),
        lambda seed: load_niches(k=16, name="niches-16"),
    ),
    "niches-full": Entry(
        "all cell niches of the mouse hypothalamus, 40 neighbours",
        *(11162, 16, 16, True),
        lambda seed: load_niches(n_members=None, name="niches-full"),
    ),
    "pbmc": Entry(
        "blood cells: neighbourhoods in expression, 40 neighbours",
        700,
        32,
        10,
        False,
        lambda seed: load_pbmc(),
    ),
    "fours": Entry(
        "handwritten fours (MNIST): pixels above a threshold",
        *(5842, 2, 0, True),
        lambda seed: load_fours("train"),
        sizes=(32, 214),
        held_out="fours-test",
    ),
    "fours-test": Entry(
        "fours held out: those of MNIST's test set",
        *(982, 2, 0, True),
        lambda seed: load_fours("test", name="fours-test"),
        sizes=(35, 184),
    ),
}

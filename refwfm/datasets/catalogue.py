"""The catalogue: every family that ``load`` knows by name."""

import numpy as np

from refwfm.datasets._entry import Entry
from refwfm.datasets.cloud_catalogue import CLOUDS
from refwfm.datasets.pbmc import load_pbmc
from refwfm.datasets.shipped import load_cities, load_niches
from refwfm.datasets.synthetic import sphere, spiral, tutorial_spiral, two_moons

CATALOGUE: dict[str, Entry] = {
    "spiral-16": Entry("ellipses along a spiral", 16, 2, 0, True, lambda seed: spiral(16)),
    "spiral-128": Entry("ellipses along a spiral", 128, 2, 0, True, lambda seed: spiral(128)),
    "tutorial-spiral": Entry(
        "ellipses along a longer spiral", 128, 2, 0, True, lambda seed: tutorial_spiral()
    ),
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
    **CLOUDS,
}

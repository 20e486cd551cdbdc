"""The small files shipped inside the package, and how they are made.

``cities.npz`` is the family of cities itself. ``fours.npz`` holds the thresholded images of MNIST's fours,
eight pixels in a byte (see ``digits``). ``niches.npz`` holds what niches are made from (16
principal components, position, section and class of every cell) rather than the covariances: for all
11162 cells that is smaller than the covariances of a quarter of them, works for every number of
neighbours, and keeps singular covariances exactly so, where rounded ones would turn indefinite.
"""

import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._family import Family
from refwfm.datasets._files import load_family, read_npz, save_family
from refwfm.datasets.cells import Cells, neighbourhoods, read_merfish
from refwfm.datasets.cities import build_cities
from refwfm.datasets.digits import build_fours
from refwfm.measures import Gaussian
from refwfm.storage import atomic

SUBSAMPLE = 2500
"""Members of "niches" and "niches-16": enough to train on, few enough to compare all pairs."""


def load_cities() -> Family:
    """Read the shipped family of 100 cities; see ``cities.build_cities``."""
    with resources.as_file(_folder() / "cities.npz") as path:
        family = load_family(path)
    assert isinstance(family, Family)
    return family


def load_niches(*, k: int = 40, n_members: int | None = SUBSAMPLE, name: str = "niches") -> Family:
    """Niches of the mouse hypothalamus: the k nearest cells of a cell in 16 principal components.

    Neighbours are sought among all 11162 cells (within the section); ``n_members`` of the niches are
    then drawn without replacement, always the same ones.

    Parameters
    ----------
    k : int
        Neighbours, the cell itself included. With k <= 16 every covariance is singular.
    n_members : int or None
        How many niches to keep; None keeps all.
    name : str

    Returns
    -------
    Family
        d = 16, labelled by the class of the cell in the middle.
    """
    cells = load_cells()
    gaussians = neighbourhoods(cells.components, cells.positions, k=k, sections=cells.sections)
    labels = cells.labels
    if n_members is not None:
        if not 1 <= n_members <= len(labels):
            raise ValueError(f"n_members must lie in 1 ... {len(labels)}; got {n_members}")
        # A draw of its own: which niches belong to the family does not depend on the seed of a run.
        chosen = np.sort(np.random.default_rng(0).choice(len(labels), n_members, replace=False))
        gaussians, labels = Gaussian(*(part[chosen] for part in gaussians)), labels[chosen]
    return Family(
        name=name,
        gaussians=gaussians,
        labels=labels,
        label_names=cells.label_names,
        about=f"{len(labels)} cells of the mouse hypothalamic preoptic region (MERFISH, two sections): the "
        f"Gaussian of the {k} nearest cells of the section, in 16 principal components of the z-scored "
        "log1p expression, labelled by cell class. Units: standard deviations of a gene. Source: Moffitt "
        "et al. 2018, https://doi.org/10.5061/dryad.8t8s248. Licence: CC0.",
    )


def load_cells() -> Cells:
    """Read the shipped cells of the mouse hypothalamus; see ``cells.read_merfish``."""
    with resources.as_file(_folder() / "niches.npz") as path:
        data = read_npz(path, ("components", "positions", "sections", "labels", "label_names"))
    return Cells(
        components=data["components"].astype(np.float64),
        positions=data["positions"].astype(np.float64),
        sections=data["sections"].astype(np.int64),
        labels=data["labels"].astype(np.int64),
        label_names=tuple(str(name) for name in data["label_names"]),
    )


def build_shipped(folder: str | os.PathLike[str], /) -> tuple[Path, ...]:
    """Make ``cities.npz``, ``niches.npz`` and ``fours.npz`` in an existing folder, from the original files.

    Components and positions are rounded to float32, so a rebuilt file can differ from the shipped one
    in the last digit of float32 where another linear algebra library rounds differently.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    cities = save_family(folder / "cities.npz", build_cities())
    cells, path = read_merfish(n_components=16), folder / "niches.npz"
    arrays: dict[str, NDArray[Any]] = {
        "components": cells.components.astype(np.float32),
        "positions": cells.positions.astype(np.float32),
        "sections": cells.sections.astype(np.uint8),
        "labels": cells.labels.astype(np.uint8),
        "label_names": np.array(cells.label_names),
    }
    atomic.write(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    return cities, path, build_fours(folder / "fours.npz")


def _folder() -> resources.abc.Traversable:
    return resources.files("refwfm.datasets") / "files"

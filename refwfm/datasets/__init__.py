"""The data: families of Gaussians by name, from the user's own clouds, or from an AnnData file.

``load("cities")`` is where every run starts. Most families ship inside the package; for the others
``CATALOGUE`` says that they need the folder ``REFWFM_DATA`` or, where their home serves the file, a
download.
"""

import os

from refwfm.datasets._family import Family, load_family, save_family
from refwfm.datasets.annotated import from_anndata
from refwfm.datasets.catalogue import CATALOGUE
from refwfm.datasets.cells import neighbourhoods, niches, principal_components, standardize
from refwfm.datasets.cities import polygon_moments
from refwfm.datasets.clouds import gaussians_from_clouds
from refwfm.datasets.shipped import build_shipped, load_niches
from refwfm.datasets.synthetic import sphere, spiral, two_moons

__all__ = [
    "CATALOGUE",
    "NAMES",
    "Family",
    "build_shipped",
    "from_anndata",
    "gaussians_from_clouds",
    "load",
    "load_family",
    "load_niches",
    "neighbourhoods",
    "niches",
    "polygon_moments",
    "principal_components",
    "save_family",
    "sphere",
    "spiral",
    "standardize",
    "two_moons",
]

NAMES: dict[str, str] = {name: entry.about for name, entry in CATALOGUE.items()}
"""Every name that ``load`` knows, with one line about it."""


def load(name: str | os.PathLike[str], /, *, seed: int = 0) -> Family:
    """Load a family by name, or from a file ending in ``.npz`` written by ``save_family``.

    Parameters
    ----------
    name : str or path
        A key of ``NAMES``, or a path ending in ``.npz``.
    seed : int, non-negative
        For the families that are drawn at random (two-moons); the others do not depend on it.

    Returns
    -------
    Family
        NumPy float64 arrays on the host.

    Raises
    ------
    ValueError
        If the name is unknown, or the file is not a family.
    OSError
        If a file is missing and cannot be downloaded.
    ModuleNotFoundError
        If reading it needs a library that is not installed.
    """
    text = os.fspath(name)
    if text.endswith(".npz"):
        return load_family(text)
    if text not in CATALOGUE:
        raise ValueError(
            f"unknown family {text!r}: expected a path ending in .npz or one of {', '.join(CATALOGUE)}"
        )
    if seed < 0:
        raise ValueError(f"seed must be non-negative; got {seed}")
    return CATALOGUE[text].load(seed)

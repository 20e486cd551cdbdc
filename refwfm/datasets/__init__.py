"""The data: families of Gaussians and of point clouds, by name, or from the user's own arrays and files.

``load("cities")`` is where every run starts, ``load_pairs("strokes")`` every run of Meta OT, and
``load_populations("synthetic-screen")`` every run of Meta Flow Matching. Most families ship inside the
package; for the others ``CATALOGUE`` says that they need the folder ``REFWFM_DATA`` or, where their home
serves the file, a download.
"""

import os
import shlex
from pathlib import Path

from refwfm.datasets._anndata import is_anndata
from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._family import Family
from refwfm.datasets._files import load_family, save_family, save_populations
from refwfm.datasets._folders import holds_gaussians, is_folder_of_arrays, is_own, load_folder, save_folder
from refwfm.datasets._pair_family import PairFamily
from refwfm.datasets._population_family import PopulationBatch, PopulationFamily
from refwfm.datasets._tables import is_table
from refwfm.datasets.annotated import clouds_from_anndata, from_anndata
from refwfm.datasets.as_family import as_family
from refwfm.datasets.catalogue import CATALOGUE
from refwfm.datasets.cells import neighbourhoods, niches, principal_components, standardize
from refwfm.datasets.cities import polygon_moments
from refwfm.datasets.images import intensity_clouds, jitter_clouds, sample_from_images, threshold_clouds
from refwfm.datasets.niche_clouds import niche_clouds
from refwfm.datasets.own_arrays import clouds_from_arrays, gaussians_from_clouds, gaussians_of
from refwfm.datasets.own_files import read_clouds, read_gaussians
from refwfm.datasets.own_pairs import own_pairs
from refwfm.datasets.own_populations import populations_from_anndata, populations_from_arrays
from refwfm.datasets.own_tables import read_table
from refwfm.datasets.pair_catalogue import PAIRS, load_pairs
from refwfm.datasets.partial import partial_views
from refwfm.datasets.population_catalogue import POPULATIONS, load_populations
from refwfm.datasets.screen import prepare_screen
from refwfm.datasets.screen_table import read_screen
from refwfm.datasets.shape_files import read_shapes
from refwfm.datasets.shipped import build_shipped, load_niches
from refwfm.datasets.splits import hold_out, split
from refwfm.datasets.synthetic import sphere, spiral, tutorial_spiral, two_moons
from refwfm.datasets.to_annotated import save_anndata, to_anndata
from refwfm.training.options import nearest

__all__ = [
    "CATALOGUE",
    "NAMES",
    "PAIRS",
    "POPULATIONS",
    "CloudFamily",
    "Family",
    "PairFamily",
    "PopulationBatch",
    "PopulationFamily",
    "as_family",
    "build_shipped",
    "clouds_from_anndata",
    "clouds_from_arrays",
    "from_anndata",
    "gaussians_from_clouds",
    "gaussians_of",
    "held_out",
    "hold_out",
    "holds_gaussians",
    "intensity_clouds",
    "is_folder_of_arrays",
    "is_own",
    "jitter_clouds",
    "load",
    "load_family",
    "load_folder",
    "load_niches",
    "load_pairs",
    "load_populations",
    "neighbourhoods",
    "niche_clouds",
    "niches",
    "own_pairs",
    "partial_views",
    "polygon_moments",
    "populations_from_anndata",
    "populations_from_arrays",
    "prepare_screen",
    "principal_components",
    "read_clouds",
    "read_gaussians",
    "read_screen",
    "read_shapes",
    "read_table",
    "sample_from_images",
    "save_anndata",
    "save_family",
    "save_folder",
    "save_populations",
    "sphere",
    "spiral",
    "split",
    "standardize",
    "threshold_clouds",
    "to_anndata",
    "tutorial_spiral",
    "two_moons",
]

NAMES: dict[str, str] = {name: entry.about for name, entry in CATALOGUE.items()}
"""Every name that ``load`` knows, with one line about it."""


def load(name: str | os.PathLike[str], /, *, seed: int = 0) -> Family | CloudFamily:
    """Load a family by name, from a file of ``save_family``, or from a folder of arrays (``load_folder``).

    Parameters
    ----------
    name : str or path
        A key of ``NAMES``, a path ending in ``.npz``, or a folder of ``.npy`` files or Zarr group.
    seed : int, non-negative
        For the families that are drawn at random (two-moons); the others do not depend on it.

    Returns
    -------
    Family or CloudFamily
        NumPy float64 arrays on the host; points of clouds in a folder are read when they are needed.

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
    if text.lower().endswith(".npz"):
        return load_family(text)
    if is_folder_of_arrays(text):
        return load_folder(text)
    if text not in CATALOGUE:
        raise _no_family(text)
    if seed < 0:
        raise ValueError(f"seed must be non-negative; got {seed}")
    return CATALOGUE[text].load(seed)


def _no_family(text: str) -> ValueError | FileNotFoundError:
    """What is wrong with a name that is in no catalogue, and what makes a family of it."""
    path = Path(text)
    kinds = {
        "a folder": path.is_dir() and not is_anndata(path),
        "AnnData": is_anndata(path),
        "a table": is_table(path),
        "an array": path.suffix.lower() == ".npy",
    }
    for what, applies in kinds.items():
        if applies and not path.exists():
            return FileNotFoundError(f"no such file: {text}")
        if applies:
            makers = " or ".join(
                f"refwfm data {kind} {shlex.quote(text)}"
                for kind in (("clouds",) if what == "a folder" else ("clouds", "gaussians"))
            )
            return ValueError(f"{text} is {what}, not a family: {makers} makes one, in a file ending in .npz")
    if path.name != text and not path.exists():  # no name has a folder in it
        return FileNotFoundError(f"no such file or folder: {text}")
    return ValueError(
        f"unknown family {text!r}: expected a path ending in .npz or a name; "
        + nearest(text, CATALOGUE, listed="refwfm data list")
    )


def held_out(name: str, /, *, seed: int = 0) -> Family | CloudFamily:
    """Load the members held out of the family of that name, for evaluation only.

    Raises
    ------
    ValueError
        If nothing is held out of it; ``split`` divides any family.
    """
    other = CATALOGUE[name].held_out if name in CATALOGUE else ""
    if not other:
        raise ValueError(f"no members are held out of {name!r}; datasets.split divides any family")
    return load(other, seed=seed)

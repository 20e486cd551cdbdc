"""Cell niches as point clouds: every cell's neighbours, each a point in the space of expression."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._files import read_npz
from refwfm.datasets._source import locate
from refwfm.datasets.cells import as_matrix, in_range, nearest, places, principal_components, read_merfish
from refwfm.datasets.own_arrays import encode_labels
from refwfm.datasets.shipped import load_cells
from refwfm.datasets.splits import split

SEQFISH = "seqfish_cortex/seqfish_visual_cortex.npz"

NEIGHBOURS = 16


def niche_clouds(
    features: Any,
    positions: Any,
    /,
    *,
    k: int | None = None,
    radius: float | None = None,
    sections: Any | None = None,
    labels: Any | None = None,
    name: str = "niches",
) -> CloudFamily:
    """For every cell, the features of the k cells nearest to it, or of all cells within ``radius``.

    A cell belongs to its own niche, and neighbours are sought within its own section only. With ``k`` the
    cell is the first of its niche, and others at the same distance come by their rows.

    Parameters
    ----------
    features : (N, d)
    positions : (N, s). Unit: any length.
    k : int, or radius : float
        One of the two. With ``k`` all clouds have k points; with ``radius``, in the unit of the
        positions, each has its own number, at least 1.
    sections : (N,), optional
        Any values, none missing; equal values mean the same section. One section when left out.
    labels : (N,), optional
        The class of every cell, which is that of its niche; see ``clouds_from_arrays``.
    name : str

    Returns
    -------
    CloudFamily
        N clouds on R^d. Units: those of the features.

    Raises
    ------
    ValueError
        If lengths differ, a value is not finite, a section is missing, k exceeds a section's number of
        cells, or not exactly one of ``k`` and ``radius`` is given.
    """
    features = as_matrix(features, "features")
    if (k is None) == (radius is None):
        raise ValueError(f"niches need either k or radius; got k = {k} and radius = {radius}")
    if k is not None:
        rows = nearest(positions, k, sections, rows=len(features)).ravel()
        offsets = np.arange(len(features) + 1) * k
    else:
        rows, offsets = _within(*places(positions, sections, len(features)), float(radius or 0))
    positions_in_names, names = encode_labels(labels)
    reach = f"the {k} nearest cells" if k is not None else f"all cells within {radius:g}"
    return CloudFamily(
        name=name,
        points=features[rows],
        offsets=offsets,
        labels=positions_in_names,
        label_names=names,
        about=f"For each of {len(features)} cells {reach}.",
    )


def _within(
    positions: NDArray[np.float64], sections: NDArray[Any], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of all cells within a radius of each cell of its section, end to end, and the offsets."""
    from scipy.spatial import cKDTree

    if not radius > 0:
        raise ValueError(f"radius must be positive; got {radius:g}")
    positions, exponent = in_range(positions)
    radius = float(np.ldexp(radius, -exponent))
    found: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(positions)
    for section in np.unique(sections):
        (inside,) = np.nonzero(sections == section)
        tree = cKDTree(positions[inside])
        for cell, near in zip(inside, tree.query_ball_point(positions[inside], radius), strict=True):
            found[cell] = np.sort(inside[near])
    return np.concatenate(found), np.concatenate([[0], np.cumsum([len(near) for near in found])])


def load_niche_clouds(part: str = "train", /, *, genes: bool = False, name: str) -> CloudFamily:
    """Niches of the mouse hypothalamus as clouds of 16 cells, by section.

    The cells of one section are to train on, those of the other are held out ("test"): niches of one
    section share cells, so a random part of them would not be unseen.

    Parameters
    ----------
    part : {"train", "test"}
        The section at bregma 0.26 mm (5584 cells), or the one at 0.21 mm (5578 cells).
    genes : bool
        Points are all 156 genes, log1p and z-scored, instead of 16 principal components of them (both
        are computed from the two sections together). That needs the original file.
    name : str

    Returns
    -------
    CloudFamily
        d = 16 or 156, labelled by the class of the cell in the middle.
    """
    cells = read_merfish(n_components=None) if genes else load_cells()
    (inside,) = np.nonzero(cells.sections == {"train": 1, "test": 0}[part])
    bregma = {"train": 0.26, "test": 0.21}[part]
    family = niche_clouds(cells.components[inside], cells.positions[inside], k=NEIGHBOURS, name=name)
    space = (
        "log1p expression, z-scored" if genes else "16 principal components of the z-scored log1p expression"
    )
    return replace(
        family,
        labels=cells.labels[inside],
        label_names=cells.label_names,
        about=f"{len(family)} cells of the mouse hypothalamic preoptic region (MERFISH, the section at "
        f"bregma {bregma} mm): the {NEIGHBOURS} nearest cells, in {space}, labelled by cell class. Held out: "
        "the other section. Units: standard deviations of a gene. Source: Moffitt et al. 2018, "
        "https://doi.org/10.5061/dryad.8t8s248. Licence: CC0.",
    )


def load_seqfish_clouds(part: str = "train", /, *, name: str) -> CloudFamily:
    """Niches of the mouse visual cortex as clouds of 16 cells in 16 principal components.

    There is one section: one niche in five is held out ("test") at random, always the same ones, and
    shares cells with those to train on.
    """
    data = read_npz(locate(SEQFISH), ("expression", "xy", "domain"))
    components = principal_components(data["expression"], 16)
    family = niche_clouds(components, data["xy"], k=NEIGHBOURS, labels=data["domain"], name=name)
    chosen = dict(zip(("train", "test"), split(family), strict=True))[part]
    return replace(
        chosen,
        about=f"{len(chosen)} cells of the mouse visual cortex (seqFISH): the {NEIGHBOURS} nearest cells, in "
        "16 principal components of the expression, labelled by spatial domain. One niche in five held out, "
        "at random; niches share cells. Units: standard deviations of a gene, as published. Source: Zhu et "
        "al. 2018, https://bitbucket.org/qzhudfci/smfishhmrf-py. Licence: none stated.",
    )

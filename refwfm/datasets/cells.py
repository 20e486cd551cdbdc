"""Cells: every cell's neighbourhood as the Gaussian of its neighbours' expression.

Two families: *niches*, where neighbours are near in the tissue (MERFISH, mouse hypothalamus), and
*PBMC* neighbourhoods, where they are near in expression (10x Genomics, blood).
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refwfm.clouds import moments
from refwfm.datasets._files import read_npz
from refwfm.datasets._grouping import missing_in, refuse_missing
from refwfm.datasets._source import locate
from refwfm.measures import Gaussian

MERFISH = "merfish_hypothalamus/merfish_hypothalamus.npz"

Floats = NDArray[np.float64]


class Cells(NamedTuple):
    """Cells of a tissue, as far as niches need them.

    Attributes
    ----------
    components : (N, p), expression in principal components, or genes. Unit: standard deviations of a gene.
    positions : (N, 2), place in the section. Unit: micrometres.
    sections : int (N,), the section the cell lies in.
    labels : int64 (N,), position of the cell's class in ``label_names``.
    label_names : tuple of str
    """

    components: Floats
    positions: Floats
    sections: NDArray[np.int64]
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]


def niches(
    expression: Any, positions: Any, /, *, k: int, n_components: int, sections: Any | None = None
) -> Gaussian:
    """Niches of cells, from counts to Gaussians: log1p, z-score, principal components, neighbours.

    Parameters
    ----------
    expression : (N, g), non-negative, volume- or depth-normalised, not logged
    positions : (N, s), place of each cell. Unit: any length.
    k, n_components : int
        See ``neighbourhoods`` and ``principal_components``.
    sections : (N,), optional
        See ``neighbourhoods``.

    Returns
    -------
    Gaussian, mean (N, n_components), cov (N, n_components, n_components)
    """
    expression = as_matrix(expression, "expression")
    if expression.min() < 0:
        raise ValueError(f"expression must be non-negative; got {expression.min():.3g}")
    components = principal_components(standardize(np.log1p(expression)), n_components)
    return neighbourhoods(components, positions, k=k, sections=sections)


def standardize(features: Any, /) -> Floats:
    """Z-score every column of ``features`` (N, g): mean 0, variance 1 (divisor N); constant columns are 0."""
    features = as_matrix(features, "features")
    centred = features - features.mean(axis=0)
    scale = features.std(axis=0)
    # A constant column has a scale of rounding errors only.
    constant = scale <= 1e-12 * np.abs(features).max(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, scale))


def principal_components(features: Any, n_components: int, /) -> Floats:
    """Scores of the first principal components, by the singular value decomposition.

    With ``X - mean = U S Vᵀ`` the scores are the first ``n_components`` columns of ``U S``. A singular vector
    is defined up to its sign only: here the largest entry of every column of V is positive.

    Parameters
    ----------
    features : (N, g)
    n_components : int
        1 ... min(N, g).

    Returns
    -------
    float64 array (N, n_components), in the units of the features
    """
    features = as_matrix(features, "features")
    available = min(features.shape)
    if not 1 <= n_components <= available:
        raise ValueError(
            f"n_components must lie in 1 ... {available} for features of shape {features.shape}; "
            f"got {n_components}"
        )
    u, s, vt = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    largest = np.take_along_axis(vt, np.argmax(np.abs(vt), axis=1)[:, None], axis=1)[:, 0]
    scores: Floats = u * s * np.where(largest < 0, -1.0, 1.0)
    return scores[:, :n_components]


def sparse_components(expression: Any, n_components: int, /) -> Floats:
    """Scores (N, n_components) of the z-scored columns of a sparse matrix, which is never made dense.

    What ``principal_components(standardize(...))`` computes, by Lanczos iteration (ARPACK) with products of
    the sparse matrix alone: column j of the z-scored one is ``(x_j - mean_j) / scale_j``. To rounding the
    same where the components are separated. Memory: that of the matrix in float64, and of the scores.
    """
    from scipy.sparse.linalg import LinearOperator, svds

    x = expression.tocsc().astype(np.float64)
    n, genes = x.shape
    if not 1 <= n_components < min(x.shape):  # ARPACK finds all but one
        return principal_components(standardize(x.toarray()), n_components)
    x.sum_duplicates()
    count = np.diff(x.indptr)
    mean = np.asarray(x.sum(axis=0)).ravel() / n
    # About the mean, so that no digits cancel; what is not stored is zero.
    spread = x.data - np.repeat(mean, count)
    gene = np.repeat(np.arange(genes), count)
    scale = np.sqrt((np.bincount(gene, spread**2, genes) + (n - count) * mean**2) / n)
    del spread, gene
    constant = scale <= 1e-12 * np.asarray(abs(x).max(axis=0).toarray()).ravel()
    weight = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, scale))

    def scores(v: Floats) -> Floats:
        return x @ (weight * v.ravel()) - mean @ (weight * v.ravel())

    def adjoint(u: Floats) -> Floats:
        return weight * (x.T @ u.ravel() - mean * u.sum())

    operator = LinearOperator(x.shape, matvec=scores, rmatvec=adjoint, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(min(x.shape))
    _, s, vt = svds(operator, n_components, v0=start, return_singular_vectors="vh")
    vt = vt[np.argsort(-s)]
    return np.stack([scores(v * _sign(v)) for v in vt], axis=1)


def _sign(v: Floats) -> float:
    """1 or -1: by which the entry of largest size becomes positive."""
    return -1.0 if v[np.argmax(np.abs(v))] < 0 else 1.0


def neighbourhoods(features: Any, positions: Any, /, *, k: int, sections: Any | None = None) -> Gaussian:
    """For every cell, mean and covariance of the features of the k cells nearest to it.

    A cell is the first of its own k neighbours, also where several are at one place; others at the same
    distance come by their rows. They are sought within its own section only: coordinates of different
    sections share no origin. Covariances divide by k (``clouds.moments``), so with k <= d, and always when k
    = 1, they are singular.

    Parameters
    ----------
    features : (N, d)
    positions : (N, s). Unit: any length.
    k : int
        1 ... size of the smallest section.
    sections : (N,), optional
        Any values; equal values mean the same section. One section when left out.

    Returns
    -------
    Gaussian, mean (N, d), cov (N, d, d). Units: those of the features, and squared.

    Raises
    ------
    ValueError
        If lengths differ, a value is not finite, a section is missing, or k exceeds a section's number of
        cells.
    """
    features = as_matrix(features, "features")
    neighbours = nearest(positions, k, sections, rows=len(features))
    n, d = features.shape
    mean, cov = np.empty((n, d)), np.empty((n, d, d))
    for start in range(0, n, 4096):  # all clouds at once would hold k copies of the features
        piece = slice(start, start + 4096)
        mean[piece], cov[piece] = moments(features[neighbours[piece]])
    return Gaussian(mean, cov)


def nearest(positions: Any, k: int, sections: Any | None = None, *, rows: int) -> NDArray[np.int64]:
    """Indices (N, k): each cell itself, then the k - 1 others of its section that are nearest to it.

    Others at the same distance come in the order of their rows, so that cells at one place have the same
    niche but for who comes first. ``rows`` is the number of rows that the positions must have, that of the
    features.
    """
    positions, sections = places(positions, sections, rows)
    n = len(positions)
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    found = np.empty((n, k), np.int64)
    for section in np.unique(sections):
        (inside,) = np.nonzero(sections == section)
        if k > inside.size:
            where = "there are only" if inside.size == n else f"section {section!s} has only"
            raise ValueError(f"k = {k} neighbours were asked for, but {where} {inside.size} cells")
        sites, site = np.unique(in_range(positions[inside])[0], axis=0, return_inverse=True)
        near = _nearest_of_sites(sites, site, k)[site]
        itself = np.arange(inside.size)[:, None]
        # The cell goes to the front; where more than k share its place it may be missing, and the last one
        # goes.
        drop = near == itself
        drop[~drop.any(axis=1), -1] = True
        found[inside] = inside[np.hstack([itself, near[~drop].reshape(inside.size, k - 1)])]
    return found


def _nearest_of_sites(sites: Floats, site: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The k cells nearest to each site, by distance and then by row; cell i is at ``sites[site[i]]``."""
    from scipy.spatial import cKDTree  # a third of a second that other families need not wait for

    cells = sites[site]
    tree = cKDTree(cells)
    distance, near = (each.reshape(len(sites), -1) for each in tree.query(sites, min(k + 1, len(cells))))
    tied = np.flatnonzero(distance[:, k - 1 : k] == distance[:, k : k + 1])  # none where k is all there are
    order = np.lexsort((near, distance), axis=1)[:, :k]
    near = np.take_along_axis(near, order, axis=1)
    for i in tied:  # of those at the k-th distance the tree took any; the slack is for its rounding
        rows = np.sort(tree.query_ball_point(sites[i], distance[i, k] * (1 + 1e-12)))
        near[i] = rows[np.argsort(np.linalg.norm(cells[rows] - sites[i], axis=1), kind="stable")[:k]]
    return near


def in_range(positions: Floats, /) -> tuple[Floats, int]:
    """Positions divided by a power of 2, and its exponent: their squares neither overflow nor all vanish."""
    exponent = int(np.frexp(np.abs(positions).max())[1])
    return np.ldexp(positions, -exponent), exponent


def places(positions: Any, sections: Any | None, rows: int, /) -> tuple[Floats, NDArray[Any]]:
    """Positions (rows, s) and sections (rows,) checked; one section when left out."""
    positions = as_matrix(positions, "positions")
    n = len(positions)
    if n != rows:
        raise ValueError(f"got {rows} rows of features but {n} positions")
    if sections is None:
        return positions, np.zeros(n, np.int64)
    if np.shape(sections) != (n,):
        raise ValueError(f"sections must have shape ({n},), one for each position; got {np.shape(sections)}")
    refuse_missing(missing_in(sections), "sections", "no section")
    return positions, np.asarray(sections)


def read_merfish(path: str | os.PathLike[str] | None = None, /, *, n_components: int | None = 16) -> Cells:
    """Read and prepare the MERFISH sections (the file is found by ``locate`` when not given).

    Preprocessing: the columns ``Blank_1 ... Blank_5``, which count barcodes of no gene, are dropped; the
    published volume-normalised values are taken to log1p; then every gene is z-scored over all cells,
    because the genes from Adcyap1 on were imaged one after the other on another scale; then the
    principal components of both sections together, or with ``n_components`` None the genes themselves.
    """
    path = locate(MERFISH) if path is None else Path(path)
    data = read_npz(path, ("expression", "genes", "xy_um", "bregma_mm", "cell_class"))
    genes = ~np.char.startswith(data["genes"], "Blank_")
    features = standardize(np.log1p(data["expression"][:, genes].astype(np.float64)))
    label_names, labels = np.unique(data["cell_class"], return_inverse=True)
    return Cells(
        components=features if n_components is None else principal_components(features, n_components),
        positions=data["xy_um"].astype(np.float64),
        sections=np.unique(data["bregma_mm"], return_inverse=True)[1].astype(np.int64),
        labels=labels.astype(np.int64),
        label_names=tuple(str(name) for name in label_names),
    )


def as_matrix(values: Any, name: str, /) -> Floats:
    """Values as a finite float64 matrix with rows and columns."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(
            f"{name} must be a matrix with at least one row and column; got shape {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return values

"""The user's own data: an AnnData file (.h5ad) to Gaussians, by niche, cluster or neighbourhood."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._family import Family
from refwfm.datasets.cells import neighbourhoods, principal_components, standardize
from refwfm.datasets.clouds import encode_labels, gaussians_from_clouds

WAYS = ("niche", "cluster", "neighbourhood")
UNLABELLED = "unlabelled"

Floats = NDArray[np.float64]


def from_anndata(
    path: str | os.PathLike[str],
    /,
    *,
    by: str = "niche",
    k: int = 40,
    pcs: int = 16,
    label: str | None = None,
    spatial_key: str = "spatial",
    cluster_key: str | None = None,
    section_key: str | None = None,
    basis: str | None = None,
) -> Family:
    """Family of Gaussians of groups of cells, in principal components of their expression.

    Parameters
    ----------
    path : path of a .h5ad file
    by : {"niche", "cluster", "neighbourhood"}
        The groups: the k cells nearest in the tissue (``obsm[spatial_key]``), the cells with the same
        value of ``obs[cluster_key]``, or the k cells nearest in the principal components themselves.
    k : int
        Cells in a niche or neighbourhood, its own cell included. Not used by "cluster".
    pcs : int
        Number of principal components, the dimension d of the Gaussians.
    label : str, optional
        Column of ``obs``: the class of a cell, and of its niche or neighbourhood. The class of a cluster
        is the commonest among its cells.
    spatial_key : str
        Entry of ``obsm`` with the coordinates.
    cluster_key : str
        Column of ``obs`` for "cluster". Cells without a value belong to no cluster.
    section_key : str, optional
        Column of ``obs`` for "niche": neighbours are sought within one section only.
    basis : str, optional
        Entry of ``obsm`` whose first ``pcs`` columns are the components. When left out it is "X_pca"
        if the file has it; otherwise components are computed from ``X`` as it stands, every gene
        z-scored: normalise and log it beforehand.

    Returns
    -------
    Family
        One member per cell (niche, neighbourhood) or per cluster, ``members`` naming the clusters.

    Raises
    ------
    FileNotFoundError, ValueError, ModuleNotFoundError
        If the file is missing, not AnnData, or lacks what was asked for (the message lists what it
        has); k exceeds a section, pcs exceed the components; anndata is not installed.
    """
    if by not in WAYS:
        raise ValueError(f"by must be one of {', '.join(WAYS)}; got {by!r}")
    if by == "cluster" and cluster_key is None:
        raise ValueError("clusters need cluster_key, a column of obs")
    path = Path(path)
    with _opened(path) as data:
        components, origin = _components(data, pcs, basis)
        labels = None if label is None else _column(data, label)
        if by == "cluster":
            return _clusters(path, components, origin, _column(data, str(cluster_key)), labels)
        if by == "niche":
            positions = _coordinates(data, spatial_key)
            sections = None if section_key is None else _column(data, section_key)
            where = f"of obsm[{spatial_key!r}]" + (f", within one {section_key}" if section_key else "")
        else:
            positions, sections, where = components, None, "in the same components"
    positions_in_names, names = encode_labels(labels)
    return Family(
        name=path.stem,
        gaussians=neighbourhoods(components, positions, k=k, sections=sections),
        labels=positions_in_names,
        label_names=names,
        about=f"{path.name}: for each of {len(components)} cells the Gaussian of the {k} nearest cells "
        f"{where}, in {pcs} components ({origin})" + (f", labelled by {label}." if label else "."),
    )


def _clusters(path: Path, components: Floats, origin: str, clusters: NDArray[Any], labels: Any) -> Family:
    names = [str(name) for name in np.unique(clusters) if name != UNLABELLED]
    if not names:
        raise ValueError(f"{path}: no cell has a cluster")
    inside = [clusters == name for name in names]
    commonest = None if labels is None else [_commonest(labels[cells]) for cells in inside]
    family = gaussians_from_clouds([components[cells] for cells in inside], labels=commonest, name=path.stem)
    return Family(
        name=family.name,
        gaussians=family.gaussians,
        labels=family.labels,
        label_names=family.label_names,
        members=tuple(names),
        about=f"{path.name}: the Gaussian of each of {len(names)} clusters of cells, in "
        f"{components.shape[1]} components ({origin}).",
    )


def _commonest(values: NDArray[Any]) -> str:
    names, counts = np.unique(values, return_counts=True)
    return str(names[np.argmax(counts)])


def _components(data: Any, pcs: int, basis: str | None) -> tuple[Floats, str]:
    """Components (N, pcs), and in words where they come from."""
    if pcs < 1:
        raise ValueError(f"pcs must be at least 1; got {pcs}")
    if basis is None and "X_pca" in data.obsm:
        basis = "X_pca"
    if basis is None:
        if data.X is None:
            raise ValueError("the file has neither obsm['X_pca'] nor an expression matrix X")
        expression = data.to_memory().X
        dense = expression.toarray() if hasattr(expression, "toarray") else expression
        return principal_components(standardize(dense), pcs), "computed from X, every gene z-scored"
    scores = _entry(data, basis)
    if pcs > scores.shape[1]:
        raise ValueError(f"pcs = {pcs}, but obsm[{basis!r}] has only {scores.shape[1]} components")
    return scores[:, :pcs], f"obsm[{basis!r}]"


def _coordinates(data: Any, key: str) -> Floats:
    if key not in data.obsm:
        raise ValueError(
            f"the file has no coordinates obsm[{key!r}], which niches need; it has {_list(data.obsm)}. "
            "Name another entry with spatial_key, or choose clusters or neighbourhoods"
        )
    return _entry(data, key)


def _entry(data: Any, key: str) -> Floats:
    if key not in data.obsm:
        raise ValueError(f"the file has no obsm[{key!r}]; it has {_list(data.obsm)}")
    values = data.obsm[key]
    values = np.asarray(values.toarray() if hasattr(values, "toarray") else values, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"obsm[{key!r}] must be a matrix; got shape {values.shape}")
    return values


def _column(data: Any, key: str) -> NDArray[Any]:
    """A column of obs as strings (N,); cells without a value get ``UNLABELLED``."""
    if key not in data.obs:
        raise ValueError(f"the file has no column {key!r} in obs; it has {_list(data.obs)}")
    column = data.obs[key]
    missing = column.isna().to_numpy()
    return np.where(missing, UNLABELLED, column.astype(str).to_numpy(dtype=np.str_))


def _list(keys: Any) -> str:
    return ", ".join(str(key) for key in keys) or "none"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an AnnData file without reading its expression matrix into memory."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        import anndata
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'reading {path} needs anndata: pip install "refwfm[data]"') from error
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path} is not an HDF5 file, so not an AnnData (.h5ad) file, or it is truncated")
    # Files of older anndata versions are welcome; anndata warns that it converts them.
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", category)
        try:
            data = anndata.read_h5ad(path, backed="r")
        except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
            raise ValueError(f"{path} is an HDF5 file but not a readable AnnData file ({error})") from error
        try:
            yield data
        finally:
            data.file.close()

"""The user's own data: an AnnData file (.h5ad) to Gaussians or clouds, by niche, cluster or neighbourhood."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._basis import Basis, fit_basis
from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._conditions import columns_of_numbers, mean_of
from refwfm.datasets._family import Family
from refwfm.datasets.cells import neighbourhoods, principal_components, standardize
from refwfm.datasets.niche_clouds import niche_clouds
from refwfm.datasets.own_arrays import clouds_from_arrays, encode_labels, gaussians_of

WAYS = ("niche", "cluster", "neighbourhood")
UNLABELLED = "unlabelled"

MOST = 100
"""Values of a column of ``obs``, at most, that members are known by; with more they are names or numbers."""

Floats = NDArray[np.float64]


def from_anndata(
    path: Any,
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
    expression: str = "X",
    conditions: Sequence[str] = (),
) -> Family:
    """Family of Gaussians of groups of cells, in principal components of their expression.

    Parameters
    ----------
    path : path of a .h5ad file, or an AnnData
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
    expression : str
        Matrix that generated cells are written in (``to_anndata``): "X", "raw", or the name of a layer.
    conditions : sequence of str
        Columns of ``obs`` of numbers that a model is conditioned on: those of a cell, and of its niche or
        neighbourhood; of a cluster the mean of its cells.

    Returns
    -------
    Family
        One member per cell (niche, neighbourhood) or per cluster, ``members`` naming the cells or clusters,
        ``groups`` with the columns of ``obs`` that have few values, one in each cluster, and a ``basis``.
        There is none where the expression is not finite, or the file has none.

    Raises
    ------
    FileNotFoundError, ValueError, ModuleNotFoundError
        If the file is missing, not AnnData, or lacks what was asked for (the message lists what it
        has); k exceeds a section, pcs exceed the components; anndata is not installed.
    """
    keys = (label, spatial_key, cluster_key, section_key, basis, expression, tuple(conditions))
    groups = _read_groups(path, by, pcs, *keys)
    if groups.clusters is not None:
        return gaussians_of(_clusters(groups))
    positions, names = encode_labels(groups.labels)
    return Family(
        name=groups.name,
        gaussians=neighbourhoods(groups.components, groups.positions, k=k, sections=groups.sections),
        labels=positions,
        label_names=names,
        **groups.facts,
        about=f"The Gaussian of the {k} nearest cells of each of {groups.about}",
    )


def clouds_from_anndata(
    path: Any,
    /,
    *,
    by: str = "niche",
    k: int | None = None,
    radius: float | None = None,
    pcs: int = 16,
    label: str | None = None,
    spatial_key: str = "spatial",
    cluster_key: str | None = None,
    section_key: str | None = None,
    basis: str | None = None,
    expression: str = "X",
    conditions: Sequence[str] = (),
) -> CloudFamily:
    """Family of point clouds of groups of cells, in principal components of their expression.

    Parameters
    ----------
    path, by, pcs, label, spatial_key, cluster_key, section_key, basis, expression, conditions
        See ``from_anndata``.
    k : int, or radius : float
        Cells in a niche or neighbourhood, 16 when both are left out; or all cells within ``radius``, in
        the unit of the coordinates. Not used by "cluster".

    Returns
    -------
    CloudFamily
        With ``members``, ``groups`` and ``basis`` as there.

    Raises
    ------
    FileNotFoundError, ValueError, ModuleNotFoundError
        See ``from_anndata``.
    """
    keys = (label, spatial_key, cluster_key, section_key, basis, expression, tuple(conditions))
    groups = _read_groups(path, by, pcs, *keys)
    if groups.clusters is not None:
        return _clusters(groups)
    k = 16 if k is None and radius is None else k
    family = niche_clouds(
        groups.components,
        groups.positions,
        k=k,
        radius=radius,
        sections=groups.sections,
        labels=groups.labels,
        name=groups.name,
    )
    reach = f"The {k} nearest cells" if radius is None else f"All cells within {radius:g}"
    return replace(
        family,
        **groups.facts,
        about=f"{reach} of each of {groups.about}",
    )


class _Groups(NamedTuple):
    """What a file says about the groups of its cells: where to look for neighbours, or the clusters."""

    name: str
    components: Floats
    labels: NDArray[Any] | None
    positions: Floats | None
    sections: NDArray[Any] | None
    clusters: NDArray[Any] | None
    cells: tuple[str, ...]
    columns: dict[str, NDArray[np.str_]]
    basis: Basis | None
    conditions: Floats
    condition_names: tuple[str, ...]
    about: str

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of each cell, as arguments of a family."""
        conditions = {"conditions": self.conditions, "condition_names": self.condition_names}
        return {"members": self.cells, "groups": self.columns, "basis": self.basis, **conditions}


def _read_groups(
    path: Any,
    by: str,
    pcs: int,
    label: str | None,
    spatial_key: str,
    cluster_key: str | None,
    section_key: str | None,
    basis: str | None,
    expression: str,
    conditions: tuple[str, ...],
) -> _Groups:
    if by not in WAYS:
        raise ValueError(f"by must be one of {', '.join(WAYS)}; got {by!r}")
    if by == "cluster" and cluster_key is None:
        raise ValueError("clusters need cluster_key, a column of obs")
    positions = sections = clusters = None
    stem, name = ("cells", "an AnnData") if hasattr(path, "obsm") else (Path(path).stem, Path(path).name)
    with nullcontext(path) if hasattr(path, "obsm") else opened(Path(path)) as data:
        components, origin = components_of(data, pcs, basis)
        labels = None if label is None else _column(data, label)
        where = f"{len(components)} cells of {name}"
        if by == "cluster":
            clusters = _column(data, str(cluster_key))
        elif by == "niche":
            positions = _coordinates(data, spatial_key)
            sections = None if section_key is None else _column(data, section_key)
            where += f", by obsm[{spatial_key!r}]" + (f" within one {section_key}" if section_key else "")
        else:
            positions, where = components, f"{where}, in the same components"
        fitted = _basis_of(data, components, expression, basis or "X_pca", by, label or "")
        cells = tuple(str(cell) for cell in data.obs_names)
        columns, values = _columns(data), columns_of_numbers(data.obs, conditions)
    about = f"{where}, in {pcs} components ({origin})" + (f", labelled by {label}." if label else ".")
    told = (cells, columns, fitted, values, conditions, about)
    return _Groups(stem, components, labels, positions, sections, clusters, *told)


def _basis_of(
    data: Any, components: Floats, expression: str, key: str, group: str, label: str
) -> Basis | None:
    """How components become expression, by a matrix of the file, or None where there is no finite one."""
    if expression == "X":
        matrix, genes, name = _matrix(data), data.var_names, "X"
    elif expression == "raw":
        if data.raw is None:
            raise ValueError("expression: the file has no raw")
        matrix, genes, name = data.raw.X, data.raw.var_names, "raw.X"
    elif expression in data.layers:
        matrix, genes, name = data.layers[expression], data.var_names, f"layers[{expression!r}]"
    else:
        raise ValueError(
            f"expression must be X, raw or a layer of the file; got {expression!r}, and its layers are "
            f"{_list(data.layers)}"
        )
    if matrix is None or 0 in matrix.shape:
        return None
    matrix = matrix.to_memory() if hasattr(matrix, "to_memory") else matrix
    matrix = matrix.tocsr() if hasattr(matrix, "tocsr") else matrix  # sliced by rows
    return fit_basis(matrix, components, genes, expression=name, key=key, group=group, label=label)


def _columns(data: Any) -> dict[str, NDArray[np.str_]]:
    """Columns of obs of classes: of text, categories, whole numbers or truth values, of few values."""
    return {
        str(key): _column(data, key)
        for key, column in data.obs.items()
        if column.dtype.kind != "f" and 1 < column.nunique() <= MOST
    }


def _clusters(groups: _Groups) -> CloudFamily:
    clusters, labels = np.asarray(groups.clusters), groups.labels
    names = [str(name) for name in np.unique(clusters) if name != UNLABELLED]
    if not names:
        raise ValueError(f"{groups.name}: no cell has a cluster")
    inside = [clusters == name for name in names]
    family = clouds_from_arrays(
        [groups.components[cells] for cells in inside],
        labels=None if labels is None else [_commonest(labels[cells]) for cells in inside],
        name=groups.name,
        about=f"Each of {len(names)} clusters among {groups.about}",
    )
    columns = {
        key: np.array([values[cells][0] for cells in inside])
        for key, values in groups.columns.items()
        if all((values[cells] == values[cells][0]).all() for cells in inside)
    }
    return replace(
        family,
        members=tuple(names),
        groups=columns,
        basis=groups.basis,
        conditions=np.array([mean_of(groups.conditions[cells]) for cells in inside]),
        condition_names=groups.condition_names,
    )


def _commonest(values: NDArray[Any]) -> str:
    names, counts = np.unique(values, return_counts=True)
    return str(names[np.argmax(counts)])


def components_of(data: Any, pcs: int, basis: str | None) -> tuple[Floats, str]:
    """Components (N, pcs), and in words where they come from."""
    if pcs < 1:
        raise ValueError(f"pcs must be at least 1; got {pcs}")
    if basis is None and "X_pca" in data.obsm:
        basis = "X_pca"
    if basis is None:
        if _matrix(data) is None:
            raise ValueError("the file has neither obsm['X_pca'] nor an expression matrix X")
        expression = data.to_memory().X
        dense = expression.toarray() if hasattr(expression, "toarray") else expression
        return principal_components(standardize(dense), pcs), "computed from X, every gene z-scored"
    scores = _entry(data, basis)
    if pcs > scores.shape[1]:
        raise ValueError(f"pcs = {pcs}, but obsm[{basis!r}] has only {scores.shape[1]} components")
    return scores[:, :pcs], f"obsm[{basis!r}]"


def cells_of(path: Path, d: int, basis: str | None, /) -> tuple[Floats, Any, str | None]:
    """Particles (N, d) of a file's cells, its obs, and the entry of obsm that was read, or None for X.

    Parameters
    ----------
    d : int
        Coordinates of a particle: the first ones of the entry, or all genes of X. Components are not computed
        here: those of other cells would be others.
    basis : str, optional
        The entry; when left out "X_pca" if the file has it, else X.

    Raises
    ------
    FileNotFoundError, ValueError, ModuleNotFoundError
        If the file is missing or not AnnData, or has other dimensions; anndata is not installed.
    """
    with opened(path) as data:
        obs = data.obs.copy()
        if basis is None and "X_pca" not in data.obsm:
            if _matrix(data) is None or data.shape[1] != d:
                raise ValueError(
                    f"{path.name} has {data.shape[1]} genes and no obsm['X_pca'], but particles have {d} "
                    "coordinates: name the entry of obsm with the components that were trained on"
                )
            matrix = data.to_memory().X
            dense = matrix.toarray() if hasattr(matrix, "toarray") else matrix
            return np.asarray(dense, dtype=np.float64), obs, None
        basis = basis or "X_pca"
        return components_of(data, d, basis)[0], obs, basis


def _matrix(data: Any) -> Any:
    """The expression matrix X, or None: a file without one has no entry of that name to open."""
    try:
        return data.X
    except KeyError:
        return None


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
def opened(path: Path) -> Iterator[Any]:
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

"""The user's own data: an AnnData file (.h5ad) to Gaussians or clouds, by niche, cluster or neighbourhood."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._anndata import (
    column_of,
    components_of,
    coordinates_of,
    matrix_of,
    opened,
    read_expression,
    sections_of,
    warn_of_overlap,
    warn_of_twins,
)
from refwfm.datasets._basis import Basis, fit_basis
from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._conditions import columns_of_numbers, mean_of
from refwfm.datasets._family import Family
from refwfm.datasets._grouping import classes_of, missing_in
from refwfm.datasets.cells import neighbourhoods
from refwfm.datasets.niche_clouds import niche_clouds
from refwfm.datasets.own_arrays import UNLABELLED, clouds_from_arrays, encode_labels, gaussians_of

WAYS = ("niche", "cluster", "neighbourhood")

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
    layer: str | None = None,
    use_raw: bool = False,
    conditions: Sequence[str] = (),
) -> Family:
    """Family of Gaussians of groups of cells, in principal components of their expression.

    Parameters
    ----------
    path : path of a .h5ad file or of a .zarr store, or an AnnData
    by : {"niche", "cluster", "neighbourhood"}
        The groups: the k cells nearest in the tissue (``obsm[spatial_key]``), the cells with the same
        value of ``obs[cluster_key]``, or the k cells nearest in the principal components themselves.
    k : int
        Cells in a niche or neighbourhood, its own cell included. Not used by "cluster".
    pcs : int
        Number of principal components, the dimension d of the Gaussians.
    label : str, optional
        Column of ``obs``, whole numbers or text: the class of a cell, and of its niche or neighbourhood,
        "unlabelled" where it has no value. The class of a cluster is the commonest among its cells.
    spatial_key : str
        Entry of ``obsm`` with the coordinates.
    cluster_key : str
        Column of ``obs`` for "cluster". Cells without a value belong to no cluster.
    section_key : str, optional
        Column of ``obs`` for "niche": neighbours are sought within one section only. No cell may lack a
        value.
    basis : str, optional
        Entry of ``obsm`` whose first ``pcs`` columns are the components. When left out it is "X_pca"
        if the file has it; otherwise components are computed from ``X`` as it stands, every gene
        z-scored: normalise and log it beforehand.
    layer : str, or use_raw : bool
        Take this entry of ``layers``, or ``raw``, in place of ``X``: generated cells are written in it
        (``to_anndata``), and unless ``basis`` names them, components are computed from it, not "X_pca".
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
        has); a coordinate is not finite, a section missing; a label is a number that is not whole; k exceeds
        a section, pcs exceed the components; anndata is not installed.

    Warns
    -----
    UserWarning
        If no section is named, and cells of what may be several samples lie among each other.
    """
    keys = (label, spatial_key, cluster_key, section_key, basis, layer, use_raw, tuple(conditions))
    groups = _read_groups(path, by, pcs, *keys)
    if groups.clusters is not None:
        return gaussians_of(_clusters(groups))
    return Family(
        name=groups.name,
        gaussians=neighbourhoods(groups.components, groups.positions, k=k, sections=groups.sections),
        labels=groups.labels,
        label_names=groups.label_names,
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
    layer: str | None = None,
    use_raw: bool = False,
    conditions: Sequence[str] = (),
) -> CloudFamily:
    """Family of point clouds of groups of cells, in principal components of their expression.

    Parameters
    ----------
    path, by, pcs, label, spatial_key, cluster_key, section_key, basis, layer, use_raw, conditions
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
    keys = (label, spatial_key, cluster_key, section_key, basis, layer, use_raw, tuple(conditions))
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
        name=groups.name,
    )
    reach = f"The {k} nearest cells" if radius is None else f"All cells within {radius:g}"
    return replace(
        family,
        labels=groups.labels,
        label_names=groups.label_names,
        **groups.facts,
        about=f"{reach} of each of {groups.about}",
    )


class _Groups(NamedTuple):
    """What a file says about the groups of its cells: where to look for neighbours, or the clusters."""

    name: str
    components: Floats
    labels: NDArray[np.int64] | None
    label_names: tuple[str, ...]
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
    layer: str | None,
    use_raw: bool,
    conditions: tuple[str, ...],
) -> _Groups:
    if by not in WAYS:
        raise ValueError(f"by must be one of {', '.join(WAYS)}; got {by!r}")
    if by == "cluster" and cluster_key is None:
        raise ValueError("clusters need cluster_key, a column of obs")
    positions = sections = clusters = None
    stem, name = ("cells", "an AnnData") if hasattr(path, "obsm") else (Path(path).stem, Path(path).name)
    with nullcontext(path) if hasattr(path, "obsm") else opened(Path(path)) as data:
        components, origin = components_of(data, pcs, basis, layer, use_raw)
        warn_of_twins(components)
        labels, names = encode_labels(None if label is None else column_of(data, label), what=str(label))
        where = f"{len(components)} cells of {name}"
        if by == "cluster":
            clusters = column_of(data, str(cluster_key))
        elif by == "niche":
            positions = coordinates_of(data, spatial_key)
            if section_key is None:
                warn_of_overlap(data, positions)
            else:
                sections = sections_of(data, section_key)
            where += f", by obsm[{spatial_key!r}]" + (f" within one {section_key}" if section_key else "")
        else:
            positions, where = components, f"{where}, in the same components"
        fitted = _basis_of(data, components, layer, use_raw, basis or "X_pca", by, label or "")
        cells = tuple(str(cell) for cell in data.obs_names)
        columns, values = _columns(data), columns_of_numbers(data.obs, conditions)
    about = f"{where}, in {pcs} components ({origin})" + (f", labelled by {label}." if label else ".")
    told = (cells, columns, fitted, values, conditions, about)
    return _Groups(stem, components, labels, names, positions, sections, clusters, *told)


def _basis_of(
    data: Any, components: Floats, layer: str | None, use_raw: bool, key: str, group: str, label: str
) -> Basis | None:
    """How components become expression, by a matrix of the file, or None where there is no finite one."""
    matrix, genes, origin = matrix_of(data, layer, use_raw)
    if matrix is None or 0 in matrix.shape:
        return None
    matrix = matrix.tocsr() if hasattr(matrix, "tocsr") else matrix  # sliced by rows
    return fit_basis(matrix, components, genes, expression=origin, key=key, group=group, label=label)


def _columns(data: Any) -> dict[str, NDArray[np.str_]]:
    """Columns of obs of classes: of text, categories, whole numbers or truth values, of few values."""
    found = {}
    for key, column in data.obs.items():
        if column.dtype.kind != "f" and 1 < column.nunique() <= MOST:
            values = column_of(data, key)
            found[str(key)] = np.where(missing_in(values), UNLABELLED, values.astype(np.str_))
    return found


def _clusters(groups: _Groups) -> CloudFamily:
    cluster, names = classes_of(groups.clusters, "clusters")
    if not names:
        raise ValueError(f"{groups.name}: no cell has a cluster")
    inside = [cluster == i for i in range(len(names))]
    family = clouds_from_arrays(
        [groups.components[cells] for cells in inside],
        name=groups.name,
        about=f"Each of {len(names)} clusters among {groups.about}",
    )
    columns = {
        key: np.array([values[cells][0] for cells in inside])
        for key, values in groups.columns.items()
        if all((values[cells] == values[cells][0]).all() for cells in inside)
    }
    family = replace(
        family,
        members=names,
        groups=columns,
        basis=groups.basis,
        conditions=np.array([mean_of(groups.conditions[cells]) for cells in inside]),
        condition_names=groups.condition_names,
    )
    if groups.labels is None:
        return family
    # Of classes that are as common the first one, and no class that is the commonest nowhere.
    common = [np.bincount(groups.labels[cells]).argmax() for cells in inside]
    used, labels = np.unique(common, return_inverse=True)
    return replace(family, labels=labels, label_names=tuple(groups.label_names[i] for i in used))


def cells_of(
    path: Path, d: int, basis: str | None, layer: str | None = None, use_raw: bool = False, /
) -> tuple[Floats, Any, str | None]:
    """Particles (N, d) of a file's cells, its obs, and the entry of obsm that was read, or None for genes.

    Parameters
    ----------
    d : int
        Coordinates of a particle: the first ones of the entry, or all genes of X. Components are not computed
        here: those of other cells would be others.
    basis : str, optional
        The entry; when left out "X_pca" if the file has it, else X.
    layer : str, or use_raw : bool
        The genes of this entry of ``layers``, or of ``raw``, as they stand.

    Raises
    ------
    FileNotFoundError, ValueError, ModuleNotFoundError
        If the file is missing or not AnnData, or has other dimensions; anndata is not installed.
    """
    with opened(path) as data:
        obs = data.obs.copy()
        genes = layer is not None or use_raw
        if genes and basis is not None:
            raise ValueError("give either --basis, or --layer or --use-raw; got both")
        if genes or (basis is None and "X_pca" not in data.obsm):
            width = data.raw.shape[1] if use_raw and data.raw is not None else data.shape[1]
            if width != d:
                none = "" if genes else " and no obsm['X_pca']"
                raise ValueError(
                    f"{path.name} has {width} genes{none}, but particles have {d} coordinates: name the "
                    "entry of obsm with the components that were trained on, by --basis"
                )
            matrix, _ = read_expression(data, layer, use_raw)
            dense = matrix.toarray() if hasattr(matrix, "toarray") else matrix
            return np.asarray(dense, dtype=np.float64), obs, None
        basis = basis or "X_pca"
        return components_of(data, d, basis)[0], obs, basis

"""AnnData out: a family of cells, real or generated, as the tables that scanpy and its like read."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refwfm.datasets._basis import expression_of
from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._family import Family
from refwfm.psd import factor
from refwfm.storage import atomic


def to_anndata(
    family: Family | CloudFamily,
    /,
    *,
    cells: int | None = None,
    seed: int | Sequence[int] = 0,
    about: Mapping[str, Any] | None = None,
) -> Any:
    """AnnData of a family: one row for each cell of a cloud, or for each Gaussian, its mean.

    Parameters
    ----------
    family : Family or CloudFamily
    cells : int, optional
        Cells to draw from each Gaussian, in place of its mean.
    seed : int, or sequence of int
        Of that draw.
    about : mapping, optional
        What else belongs in ``uns["refwfm"]``; what is not a number or text is written as JSON.

    Returns
    -------
    anndata.AnnData
        ``obsm["X_pca"]`` (or the entry that the components are from) are the components. With a ``basis``,
        ``X`` is the expression of its genes, float32, and ``varm["PCs"]`` the loadings: what was nowhere
        negative is not here, and ``uns["refwfm"]`` has the share of zeros (``zeros``) and that of the real
        cells (``real_zeros``). ``obs`` has the member that each row is of, its class and its conditions.

    Raises
    ------
    ValueError
        If ``cells`` is given for clouds, which have their own.
    ModuleNotFoundError
        If anndata is not installed.
    """
    anndata = check_anndata()
    components, member, weights = _cells(family, cells, seed)
    basis, group = family.basis, "member" if family.basis is None else family.basis.group
    names = family.members or tuple(str(i) for i in range(len(family)))
    obs: dict[str, Any] = {group: np.array(names, dtype=object)[member]}
    if family.labels is not None:
        label = "class" if basis is None or not basis.label else basis.label
        # The class of a group, which a cell of it need not have.
        obs[f"{group}_{label}"] = np.array(family.label_names, dtype=object)[family.labels[member]]
    numbers = {} if weights is None else {"weight": weights}
    # The condition of a group, which a cell of it need not have.
    for name, values in zip(family.condition_names, family.conditions.T, strict=True):
        numbers[f"{group}_{name}"] = values[member]
    told: dict[str, Any] = {"about": family.about}
    for key, value in (about or {}).items():
        told[key] = value if isinstance(value, int | float | str) else json.dumps(value)
    import pandas

    index = [str(i) for i in range(len(components))]
    table = pandas.DataFrame(obs, index=index).astype("category").assign(**numbers)
    if basis is None:
        return anndata.AnnData(obs=table, obsm={"X_pca": components}, uns={"refwfm": told})
    found = expression_of(basis, components).astype(np.float32)
    told |= {"expression": basis.expression, "explained": basis.explained}
    told |= {"zeros": float(np.mean(found == 0)), "real_zeros": basis.zeros}
    return anndata.AnnData(
        X=found,
        obs=table,
        var=pandas.DataFrame(index=basis.genes.astype(object)),
        obsm={basis.key: components},
        varm={"PCs": basis.loadings.T},
        uns={"refwfm": told},
    )


def check_anndata() -> Any:
    """The library anndata, or an error that says how to install it."""
    try:
        import anndata
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('writing .h5ad needs anndata: pip install "refwfm[data]"') from error
    return anndata


def save_anndata(path: str | os.PathLike[str], data: Any, /) -> Path:
    """Write an AnnData to a ``.h5ad`` file, completely or not at all; return the file's path."""
    path = Path(path)
    atomic.write(path, lambda file: data.write_h5ad(Path(file.name)))
    return path


def _cells(family: Family | CloudFamily, cells: int | None, seed: Any) -> tuple[Any, Any, Any]:
    """Components (n, d) of all cells, the member that each is of, and weights where they are not uniform."""
    each = np.arange(len(family))
    if isinstance(family, CloudFamily):
        if cells is not None:
            raise ValueError(f"cells: clouds have their own number of cells; got {cells}")
        return family.points, np.repeat(each, family.sizes), family.weights
    mean, cov = family.gaussians
    if cells is None:
        return mean, each, None
    noise = np.random.default_rng(seed).standard_normal((len(family), cells, family.dimension))
    drawn = mean[:, None, :] + noise @ factor(cov).mT
    return drawn.reshape(-1, family.dimension), np.repeat(each, cells), None

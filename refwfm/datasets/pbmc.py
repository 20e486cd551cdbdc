"""Blood cells: neighbourhoods in expression of the 10x Genomics PBMC cells."""

import os
from dataclasses import replace
from pathlib import Path

from refwfm.datasets._family import Family
from refwfm.datasets._source import locate
from refwfm.datasets.annotated import from_anndata

FILE = "pbmc68k_reduced/10x_pbmc68k_reduced.h5ad"


def load_pbmc(path: str | os.PathLike[str] | None = None, /, *, k: int = 40, pcs: int = 32) -> Family:
    """Neighbourhoods of blood cells: the k nearest cells in the first principal components.

    Parameters
    ----------
    path : path, optional
        The AnnData file; found by ``locate`` when not given.
    k : int
        Neighbours, the cell itself included; 40 > 32 + 1, so covariances can have full rank.
    pcs : int
        Number of the file's 50 principal components, the dimension d.

    Returns
    -------
    Family
        N = 700, labelled by the cell type of the cell in the middle (``bulk_labels``).
    """
    path = locate(FILE) if path is None else Path(path)
    family = from_anndata(path, by="neighbourhood", k=k, pcs=pcs, label="bulk_labels", basis="X_pca")
    return replace(
        family,
        name="pbmc",
        about=f"{len(family)} peripheral blood mononuclear cells: the Gaussian of the {k} nearest cells in "
        f"{pcs} principal components, labelled by cell type. Units: those of the components of scaled log "
        "expression. Source: Zheng et al. 2017 (10x Genomics), subset published with scanpy. Licence: "
        "CC BY 4.0.",
    )

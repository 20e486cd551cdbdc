"""How components of cells become expression again: what an AnnData file says about them, and its fit."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refwfm._array import nonnegative

Floats = NDArray[np.float64]

ENTRIES = 2**24
"""Entries of an expression matrix that are held densely at a time."""


class Basis(NamedTuple):
    """The linear map from components to the expression of genes, and where the components are from.

    Attributes
    ----------
    genes : array of str (G,)
    mean : float64 array (G,)
        Expression where all components are 0. Units: those of ``expression``.
    loadings : float64 array (d, G)
        Expression is about ``mean + components @ loadings``.
    nonnegative : bool
        Whether the file's expression is nowhere below 0.
    zeros : float
        Share of the file's expression that is 0.
    explained : float
        Share of the variance of the file's expression that the components carry.
    expression : str
        Which matrix of the file that is: "X", "raw.X" or a layer.
    key : str
        Entry of ``obsm`` with the components; "X_pca" where they were computed.
    group : str
        What a member of the family is: "niche", "cluster" or "neighbourhood" (of cells).
    label : str
        Column of ``obs`` that the labels are from; empty when there are none.
    """

    genes: NDArray[np.str_]
    mean: Floats
    loadings: Floats
    nonnegative: bool
    zeros: float
    explained: float
    expression: str
    key: str
    group: str
    label: str


def fit_basis(
    matrix: Any, components: Floats, genes: Any, /, *, expression: str, key: str, group: str, label: str
) -> Basis | None:
    """The basis whose expression is nearest to that of the cells, in least squares; see ``Basis``.

    Where the components are principal components of this very matrix these are its loadings, scaled or not;
    for any other matrix and components it is the best linear map.

    Parameters
    ----------
    matrix : (N, G), dense, sparse or in a file
        It is read in pieces of rows.
    components : (N, d)

    Returns
    -------
    Basis, or None where an entry of the matrix is not finite

    Examples
    --------
    >>> cells = np.array([[1.0, 0.0], [3.0, 4.0]])
    >>> basis = fit_basis(cells, np.array([[0.0], [1.0]]), ["a", "b"], expression="X", key="X_pca",
    ...                   group="niche", label="")
    >>> basis.mean.round(9) + 0.0, basis.loadings.round(9), basis.zeros, round(basis.explained, 9)
    (array([1., 0.]), array([[2., 4.]]), 0.25, 1.0)
    """
    n, width = matrix.shape
    centre = components.mean(axis=0)
    inverse = np.linalg.pinv(components - centre, rcond=1e-6)  # (d, N); files hold float32
    loadings, total, squares = np.zeros((components.shape[1], width)), np.zeros(width), np.zeros(width)
    shift, zeros, lowest = None, 0, np.inf
    step = max(1, ENTRIES // width)
    for start in range(0, n, step):
        rows = matrix[start : start + step]
        rows = np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float64)
        if not np.isfinite(rows).all():
            return None
        zeros, lowest = zeros + int((rows == 0).sum()), min(lowest, float(rows.min()))
        # Near their mean, squares keep the digits of the variance.
        shift = rows.mean(axis=0) if shift is None else shift
        rows = rows - shift
        total, squares = total + rows.sum(axis=0), squares + (rows**2).sum(axis=0)
        loadings += inverse[:, start : start + step] @ rows  # rows of the inverse sum to 0: no shift shows
    variance = float(np.sum(squares - total**2 / n))
    carried = float(np.sum(((components - centre) @ np.linalg.qr(loadings.T)[1].T) ** 2))
    return Basis(
        genes=np.array([str(gene) for gene in genes], dtype=np.str_),
        mean=shift + total / n - centre @ loadings,
        loadings=loadings,
        nonnegative=lowest >= 0,
        zeros=zeros / (n * width),
        explained=carried / variance if variance > 0 else 1.0,
        expression=expression,
        key=key,
        group=group,
        label=label,
    )


def expression_of(basis: Basis, components: Floats, /) -> Floats:
    """Expression (n, G) of cells from their components (n, d); nowhere below 0 where the file's is not."""
    found: Floats = basis.mean + components @ basis.loadings
    return nonnegative(found) if basis.nonnegative else found

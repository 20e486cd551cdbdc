"""Muon: matrices inside a network move along the nearest orthogonal matrix to the mean of their gradients.

Adam divides every entry of a gradient by its own size. A gradient of a matrix is mostly of low rank: few
directions are learned fast, and the rest hardly at all. With all singular values made equal, every direction
moves at the same rate. The papers train with Adam; this is ours to choose.

References
----------
Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
Bernstein and Newhouse, "Old optimizer, new norm: an anthology", 2024.
"""

import math
from collections.abc import Callable

from refwfm._array import Array, array_namespace, check_floating, transpose
from refwfm.training.optim import AdamState, Tree, adam, check_same_shapes, check_tree, flatten, unflatten

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the polynomial a s + b s³ + c s⁵, which brings singular values near 1 in few steps (Jordan et al.)."""

STEPS = 5

RATE = 4.0
"""Learning rate of matrices, in units of Adam's."""

OPTIMIZERS = ("adam", "muon")


def orthogonalize(matrix: Array, /) -> Array:
    """Make all singular values of matrices about equal to 1, and leave their singular vectors.

    Equation: WFM-MUON. ``X ← a X + (b X Xᵀ + c (X Xᵀ)²) X``, five times from ``X = G / ‖G‖``: a Newton-Schulz
    iteration, which needs products only.

    Parameters
    ----------
    matrix : array, shape (..., n, m)

    Returns
    -------
    array, shape (..., n, m)
        Singular values of at least a hundredth of the norm come between 0.68 and 1.14; zeros stay zeros.

    Raises
    ------
    ValueError
        If it has fewer than two axes.

    Examples
    --------
    >>> orthogonalize(np.asarray([[0.0, 300.0], [-200.0, 0.0]])).round(1).tolist()
    [[0.0, 1.1], [-0.7, 0.0]]
    """
    xp = check_floating(matrix=matrix)
    if matrix.ndim < 2:
        raise ValueError(f"matrix must have shape (..., n, m); got {tuple(matrix.shape)}")
    if 0 in matrix.shape:
        return matrix
    wide = matrix.shape[-2] <= matrix.shape[-1]
    x = matrix if wide else transpose(matrix)  # so that the products are of the smaller size
    x = _over(x, xp.max(xp.abs(x), axis=(-2, -1), keepdims=True))  # so that no square overflows
    x = _over(x, xp.sqrt(xp.sum(x * x, axis=(-2, -1), keepdims=True)))
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ transpose(x)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x if wide else transpose(x)


def _over(x: Array, size: Array) -> Array:
    """``x / size``, and zeros as they are."""
    xp = array_namespace(x)
    return x / xp.where(size == 0, xp.ones_like(size), size)


def is_hidden(path: str, leaf: Array, /) -> bool:
    """Whether an array of a tree is a matrix of a numbered layer, and not what reads times and labels.

    Equation: none. Which arrays ``muon`` moves.

    Examples
    --------
    >>> [is_hidden(path, np.ones((2, 2))) for path in ("in/weight", "blocks/0/attention/qkv/weight")]
    [False, True]
    """
    parts = path.split("/")
    return leaf.ndim == 2 and "condition" not in parts and any(part.isdigit() for part in parts)


def muon(
    params: Tree,
    grads: Tree,
    state: AdamState,
    /,
    *,
    learning_rate: float,
    adam: Callable[..., tuple[Tree, AdamState]] = adam,
) -> tuple[Tree, AdamState]:
    """One step: matrices between layers along the orthogonal factor of Adam's mean gradient, others by Adam.

    Equation: WFM-MUON. ``p ← p - 4 lr sqrt(max(1, m / n)) orthogonalize(m̂)`` for p (n, m) with mean gradient
    m̂.

    Parameters
    ----------
    params, grads, state, learning_rate
        As for ``optim.adam``.
    adam : callable, optional
        A twin of ``optim.adam``, which may consume what it is given.

    Returns
    -------
    params : tree
    state : AdamState

    Raises
    ------
    ValueError
        If the trees differ.

    Examples
    --------
    >>> from refwfm.training import optim
    >>> params, grads = {"blocks": {"0": np.zeros((2, 2))}}, {"blocks": {"0": np.diag([9.0, 4.0])}}
    >>> params, _ = muon(params, grads, optim.init_adam(params), learning_rate=0.25)
    >>> params["blocks"]["0"].round(1).tolist()
    [[-0.7, 0.0], [0.0, -1.1]]
    """
    check_tree(params)
    check_same_shapes(params, grads, state.first, state.second)
    before = {
        path: array_namespace(leaf).asarray(leaf, copy=True)
        for path, leaf in flatten(params).items()
        if is_hidden(path, leaf)
    }
    params, state = adam(params, grads, state, learning_rate=learning_rate)
    means = flatten(state.first)
    moved = {}
    for path, leaf in before.items():
        n, m = leaf.shape
        rate = RATE * learning_rate * math.sqrt(max(1.0, m / n))  # outputs move alike, however many there are
        moved[path] = leaf - rate * orthogonalize(means[path])
    return unflatten({**flatten(params), **moved}), state

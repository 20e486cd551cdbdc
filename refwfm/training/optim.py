"""Optimisation on trees of parameters: Adam, learning-rate decay, gradient clipping, averaging.

A *tree* is an array or a dictionary of trees with string keys, as the networks' parameters and gradients
are. Every function returns new trees.

References
----------
Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, Algorithm 1.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from refwfm._array import Array, array_namespace, check_floating

Tree: TypeAlias = Any
"""An array, or a dictionary of trees with string keys."""


def tree_map(f: Callable[..., Any], /, *trees: Tree) -> Tree:
    """Apply ``f`` to the leaves that stand at the same place in the trees.

    Equation: none. A function of every array of a tree.

    Raises
    ------
    ValueError
        If the trees differ in their keys.

    Examples
    --------
    >>> tree_map(lambda p, g: p - g, {"in": {"bias": 3.0}}, {"in": {"bias": 1.0}})
    {'in': {'bias': 2.0}}
    """
    first = trees[0]
    if not isinstance(first, dict):
        return f(*trees)
    _check_same_keys(trees)
    return {key: tree_map(f, *(tree[key] for tree in trees)) for key in first}


def _check_same_keys(trees: tuple[Tree, ...]) -> None:
    first = trees[0]
    for other in trees[1:]:
        if not isinstance(other, dict) or other.keys() != first.keys():
            got = sorted(other) if isinstance(other, dict) else type(other).__name__
            raise ValueError(f"trees must have the same keys; got {sorted(first)} and {got}")


def check_same_shapes(*trees: Tree) -> list[tuple[Array, ...]]:
    """Arrays at the same places, a tuple for each in sorted order; raise unless of one shape and dtype."""
    first = trees[0]
    if isinstance(first, dict):
        _check_same_keys(trees)
        return [row for key in sorted(first) for row in check_same_shapes(*(tree[key] for tree in trees))]
    for other in trees[1:]:
        if getattr(other, "dtype", None) != first.dtype:
            raise TypeError(
                "the arrays of trees must have the same dtype; "
                f"got {first.dtype} and {getattr(other, 'dtype', type(other).__name__)}"
            )
        if tuple(other.shape) != tuple(first.shape):
            raise ValueError(
                "trees must hold arrays of the same shapes; "
                f"got {tuple(first.shape)} and {tuple(other.shape)}"
            )
    return [trees]


def check_tree(tree: Tree, /) -> Any:
    """Namespace of the arrays of a tree; raise unless they are of one library, device and floating dtype."""
    return check_floating(**{path or "the tree": leaf for path, leaf in flatten(tree).items()})


def tree_leaves(tree: Tree, /) -> list[Array]:
    """List the arrays of a tree, in sorted order of their paths.

    Equation: none. A tree as a list.

    Examples
    --------
    >>> tree_leaves({"out": 1.0, "in": {"weight": 2.0, "bias": 3.0}})
    [3.0, 2.0, 1.0]
    """
    flat = flatten(tree)
    return [flat[path] for path in sorted(flat)]


def flatten(tree: Tree, /) -> dict[str, Array]:
    """Name the arrays of a tree by their paths, ``"a/b/c"``.

    Equation: none. A tree as a dictionary.

    Examples
    --------
    >>> flatten({"in": {"weight": 1.0, "bias": 2.0}})
    {'in/weight': 1.0, 'in/bias': 2.0}
    """
    if not isinstance(tree, dict):
        return {"": tree}
    return {
        f"{key}/{path}" if path else key: leaf
        for key, child in tree.items()
        for path, leaf in flatten(child).items()
    }


def unflatten(flat: dict[str, Array], /) -> Tree:
    """Build the tree whose arrays have these paths: the inverse of ``flatten``.

    Equation: none. A dictionary as a tree.

    Raises
    ------
    ValueError
        If one path goes through another, such as ``"a"`` and ``"a/b"``.

    Examples
    --------
    >>> unflatten({"in/weight": 1.0, "in/bias": 2.0})
    {'in': {'weight': 1.0, 'bias': 2.0}}
    """
    if list(flat) == [""]:
        return flat[""]
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ValueError(f"path {path!r} goes through an array")
        if name in node:
            raise ValueError(f"path {path!r} stands for an array and for a tree, or twice")
        node[name] = leaf
    return tree


class AdamState(NamedTuple):
    """What Adam remembers.

    Attributes
    ----------
    first, second : trees like the parameters
        Running means of the gradient and of its square.
    steps : int
        Number of steps taken.
    """

    first: Tree
    second: Tree
    steps: int


def init_adam(params: Tree, /) -> AdamState:
    """Return the state of Adam before the first step: zeros like the parameters."""
    return AdamState(_zeros_like(params), _zeros_like(params), 0)


def _zeros_like(tree: Tree) -> Tree:
    return tree_map(lambda leaf: array_namespace(leaf).zeros_like(leaf), tree)


def adam(
    params: Tree,
    grads: Tree,
    state: AdamState,
    /,
    *,
    learning_rate: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[Tree, AdamState]:
    """One step of Adam: ``p ← p - lr m̂ / (sqrt(v̂) + eps)``.

    Equation: WFM-AppE1-adam. ``m ← b1 m + (1 - b1) g``, ``v ← b2 v + (1 - b2) g²``, and for step k
    ``m̂ = m / (1 - b1ᵏ)``, ``v̂ = v / (1 - b2ᵏ)``.

    Parameters
    ----------
    params, grads : trees of arrays with the same keys and shapes
    state : AdamState
    learning_rate, b1, b2, eps : float

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
    >>> params, grads = {"bias": np.zeros(2)}, {"bias": np.asarray([5.0, -0.1])}
    >>> params, state = adam(params, grads, init_adam(params), learning_rate=0.5)
    >>> params["bias"].round(6).tolist()  # the first step has the same length everywhere
    [-0.5, 0.5]
    """
    check_tree(params)
    check_same_shapes(params, grads, state.first, state.second)
    steps = state.steps + 1
    first = tree_map(lambda m, g: b1 * m + (1.0 - b1) * g, state.first, grads)
    second = tree_map(lambda v, g: b2 * v + (1.0 - b2) * (g * g), state.second, grads)
    rate = learning_rate / (1.0 - b1**steps)
    unbias = 1.0 / math.sqrt(1.0 - b2**steps)

    def move(p: Array, m: Array, v: Array) -> Array:
        return p - rate * m / (unbias * array_namespace(v).sqrt(v) + eps)

    return tree_map(move, params, first, second), AdamState(first, second, steps)


def exponential_decay(step: int, /, *, base: float, rate: float = 0.97, every: int = 1000) -> float:
    """Learning rate ``base · rate^(step / every)``, falling smoothly rather than in steps.

    Equation: WFM-AppE1-adam. The paper's × 0.97 every 1000 steps; it does not say which of the two.

    Examples
    --------
    >>> exponential_decay(2000, base=1.0, rate=0.5)
    0.25
    """
    return base * float(rate ** (step / every))


def warm_up_cosine(step: int, /, *, base: float, warm_up: int, n_steps: int) -> float:
    """Learning rate that rises linearly to ``base`` for ``warm_up`` steps, then falls to 0 along a cosine.

    Equation: none. A schedule; step 0 is the first, and has a rate above 0.

    Examples
    --------
    >>> [warm_up_cosine(step, base=1.0, warm_up=2, n_steps=6) for step in (0, 1, 2, 4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if step < warm_up:
        return float(base * (step + 1) / warm_up)
    share = (step - warm_up) / max(1, n_steps - warm_up)
    return float(base * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share))))


def clip_by_global_norm(grads: Tree, /, max_norm: float) -> tuple[Tree, Array]:
    """Shorten gradients, all by the same factor, so that their common norm is at most ``max_norm``.

    Equation: WFM-AppE1-adam.

    Parameters
    ----------
    grads : tree of arrays
    max_norm : float
        Positive; infinity measures the norm and clips nothing.

    Returns
    -------
    grads : tree
    norm : array, shape ()
        The Euclidean norm of all entries before clipping.

    Raises
    ------
    ValueError
        If ``max_norm`` is not positive.

    Notes
    -----
    A NaN or infinite gradient stays visible in ``norm``, and in the gradients as NaN.

    Examples
    --------
    >>> grads, norm = clip_by_global_norm({"a": np.asarray([3.0]), "b": np.asarray([4.0])}, 2.5)
    >>> float(norm), grads["a"].tolist(), grads["b"].tolist()
    (5.0, [1.5], [2.0])
    """
    check_max_norm(max_norm)
    leaves = tree_leaves(grads)
    xp = check_tree(grads)
    # In units of the largest entry no square overflows.
    largest = xp.max(xp.stack([xp.max(xp.abs(leaf)) for leaf in leaves if 0 not in leaf.shape]))
    unit = xp.where((largest > 0) & (largest < math.inf), largest, xp.ones_like(largest))
    norm = unit * xp.sqrt(xp.sum(xp.stack([xp.sum((leaf / unit) ** 2) for leaf in leaves])))
    within = norm <= max_norm
    factor = xp.where(within, 1.0, max_norm / xp.where(within, 1.0, norm))  # a gradient may be 0
    return tree_map(lambda g: g * factor, grads), norm


def check_max_norm(max_norm: float, /) -> None:
    """Raise ``ValueError`` unless ``max_norm`` is positive."""
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive; got {max_norm}")


def ema(average: Tree, params: Tree, /, *, decay: float) -> Tree:
    """Exponential moving average of parameters, ``decay · average + (1 - decay) · params``.

    Equation: WFM-AppE1-adam.

    Raises
    ------
    ValueError
        If the trees differ.

    Examples
    --------
    >>> ema({"bias": np.ones(1)}, {"bias": np.zeros(1)}, decay=0.75)["bias"].tolist()
    [0.75]
    """
    check_tree(average)
    check_same_shapes(average, params)
    return tree_map(lambda a, p: decay * a + (1.0 - decay) * p, average, params)

"""Trees of small arrays as pieces of one vector, on which the optimisers' twins work with one call.

A network of width 128 has some forty arrays, most of them of 128 numbers: to call a dozen functions for each
takes several times as long as what they do.
"""

from collections.abc import Iterator
from itertools import accumulate, pairwise
from math import prod

from refwfm._array import Array, array_namespace
from refwfm.training.optim import Tree, check_same_shapes

SMALL = 1 << 14
"""Mean length of arrays from which calls no longer count: larger models stay as they are."""


class Packed(dict[str, Tree]):
    """A tree whose arrays are views of ``vector``, in sorted order of their paths; ``layout`` says where."""

    vector: Array
    layout: tuple[tuple[str, tuple[int, ...]], ...]

    def __reduce__(self) -> tuple[type[dict[str, Tree]], tuple[dict[str, Tree]]]:
        """Copies and pickles are plain trees: their arrays would be no views of their vector."""
        return dict, (dict(self),)


def packed(tree: Tree, /) -> Tree:
    """Return the tree, packed (which copies it) unless it is already, or has arrays that are not small."""
    if isinstance(tree, Packed) or not isinstance(tree, dict):
        return tree
    leaves = [*_leaves(tree)]
    layout = tuple((path, tuple(leaf.shape)) for path, leaf in leaves)
    first, ends = leaves[0][1], [0, *accumulate(prod(shape) for _, shape in layout)]
    if ends[-1] >= SMALL * len(layout) or any(leaf.dtype != first.dtype for _, leaf in leaves):
        return tree
    vector = array_namespace(first).concat([leaf.reshape(-1) for _, leaf in leaves])
    cuts = zip(layout, pairwise(ends), strict=True)
    result = Packed(_refilled(tree, (vector[i:j].reshape(shape) for (_, shape), (i, j) in cuts)))
    result.vector, result.layout = vector, layout
    return result


def _leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, Array]]:
    for key in sorted(tree):
        child, name = tree[key], f"{path}/{key}"
        if isinstance(child, dict):
            yield from _leaves(child, name)
        else:
            yield name, child


def _refilled(tree: Tree, arrays: Iterator[Array]) -> Tree:
    """Return the tree with other arrays, which come in sorted order of their paths."""
    filled = {
        key: _refilled(tree[key], arrays) if isinstance(tree[key], dict) else next(arrays)
        for key in sorted(tree)
    }
    return {key: filled[key] for key in tree}


def matching_arrays(first: Tree, /, *others: Tree) -> list[tuple[Array, ...]]:
    """Arrays that hold the trees' numbers in the same order: vectors where the first tree is packed.

    Raises as ``check_same_shapes`` does.
    """
    if not isinstance(first, Packed):
        return check_same_shapes(first, *others)
    return [(first.vector, *(_vector_like(first, tree) for tree in others))]


def _vector_like(first: Packed, tree: Tree) -> Array:
    if isinstance(tree, Packed) and tree.layout == first.layout and tree.vector.dtype == first.vector.dtype:
        return tree.vector
    leaves = [leaf for _, leaf in check_same_shapes(first, tree)]
    return array_namespace(first.vector).concat([leaf.reshape(-1) for leaf in leaves])

"""Laws of composition: what is packed, folded, reordered, drawn."""

import numpy as np
from law_composing import composition
from law_kinds import Kind, points, vectors

from refwfm import clouds
from refwfm._array import array_namespace, transpose
from refwfm.measures import PointCloud
from refwfm.metrics import distances
from refwfm.networks import layers
from refwfm.sources import clouds as sources
from refwfm.training import optim
from refwfm.transport import (
    _parallel,
    emd,
    linearized,
    sliced,
)


# Storage
@composition(
    "packed and unpacked",
    {"x": points("nd"), "y": points("md")},
    (Kind("nd"), Kind("md"), Kind("nd"), Kind("md")),
    (clouds.pad, clouds.unpad, distances.host_families),
    dtypes=("float64",),
    without="strict",
)
def packed(x, y):
    batch = clouds.pad([x, y], size=9)
    (family,) = distances.host_families(batch=batch)
    return (*clouds.unpad(batch), *(member.points for member in family)), (x, y, x, y)


@composition(
    "sizes of prefixes",
    {"x": points("nd")},
    Kind("T"),
    (sources.prefix_weights,),
    dtypes=("float64",),
    without="strict",
)
def prefixes(x):
    sizes = np.asarray([x.shape[0], 1, 2])
    filled = PointCloud(np.zeros((3, 5, 1)), sources.prefix_weights(sizes, 5))
    return clouds.sizes(filled), sizes


TREE = {"a": {"b": vectors("n"), "c": vectors("m")}, "d": vectors("n")}


@composition(
    "flat and unfolded",
    {"tree": TREE},
    TREE,
    (optim.flatten, optim.unflatten, optim.tree_map, optim.tree_leaves),
)
def unfolded(tree):
    flat = optim.flatten(tree)
    assert [id(leaf) for leaf in flat.values()] == [id(leaf) for leaf in optim.tree_leaves(tree)]
    return optim.tree_map(lambda x: 2 * x, optim.unflatten(flat)), optim.tree_map(lambda x: x + x, tree)


composition("half of a matrix", {"matrix": Kind("bcc", 2, "symmetric")}, Kind("bcc", 2))(
    lambda matrix: (layers.unvech(layers.vech(matrix)[0], matrix.shape[-1])[0], matrix)
)
composition("orders and their inverses", {"x": points("nd")}, points("nd"))(
    lambda x: (linearized.reorder(linearized.reorder(x, *one_order(x)), *one_order(x, inverse=True)), x)
)


def one_order(x, *, inverse=False):
    order = np.random.default_rng(0).permutation(x.shape[-2])
    return (array_namespace(x).asarray(np.argsort(order) if inverse else order),)


@composition(
    "in parallel as one by one",
    {"x": vectors("n")},
    vectors("n"),
    (_parallel.in_parallel, _parallel.as_they_come),
)
def parallel(x):
    arguments = [(x[k],) for k in range(x.shape[0])]
    found = _parallel.in_parallel(np_square, arguments, n_jobs=2)
    later = list(_parallel.as_they_come(np_square, arguments, n_jobs=1))
    xp = array_namespace(x)
    assert [float(v) for v in found] == [float(v) for v in later]
    return xp.stack(found), x * x


def np_square(x):
    return x * x


@composition(
    "drawn axes are orthonormal",
    {"x": points("nd")},
    Kind("nn"),
    (emd.random_frames, sliced.random_directions),
    dtypes=("float64",),
    without="strict",
)
def orthonormal(x):
    d, rng = x.shape[-1], np.random.default_rng(0)
    frames = emd.random_frames(d, rng=rng, count=2)
    theta = sliced.random_directions(x, rng=rng, n_proj=3)
    return (
        np.concatenate([(transpose(frames) @ frames).ravel(), np.sum(theta**2, axis=-1)]),
        np.concatenate([np.stack(2 * [np.eye(d)]).ravel(), np.ones(3)]),
    )

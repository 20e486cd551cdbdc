"""Networks whose dictionaries lost the order of their layers, as in files and in JAX: "10" before "2"."""

import numpy as np
import pytest
from conftest import LIBRARIES

from refwfm import backends, networks
from refwfm.meta.potentials import init_potential_mlp, potential_mlp
from refwfm.networks.point_mlp import init_point_mlp, point_mlp
from refwfm.networks.transformer import init_transformer, transformer
from refwfm.populations.embedding import init_population_embedding, population_embedding
from refwfm.populations.graphs import knn_graph
from refwfm.populations.velocity import init_velocity, velocity

LIKE, DEPTH = np.zeros(0), 12
RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(2, 5, 3)), np.asarray([0.2, 0.7])
A = RNG.dirichlet(np.ones(3), 2)
CLOUDS = {"width": 8, "heads": 2, "n_frequencies": 2, "hidden": 8}


def sorted_by_name(tree):
    return {k: sorted_by_name(tree[k]) for k in sorted(tree)} if isinstance(tree, dict) else tree


def shaken(tree):
    """More than 0 added everywhere, so that no layer starts at zero, and no rectifier is always off."""
    rng = np.random.default_rng(1)
    draw = lambda x: x + 0.1 * np.abs(rng.normal(size=x.shape))  # noqa: E731
    return {k: shaken(v) if isinstance(v, dict) else draw(v) for k, v in tree.items()}


def networks_of(rng):
    deep = {"like": LIKE, "depth": DEPTH}
    return {
        "mlp": (networks.init_mlp(rng, 3, 2, width=8, **deep), lambda p: networks.mlp(p, X)),
        "transformer": (
            init_transformer(rng, 3, **deep, **CLOUDS),
            lambda p: transformer(p, X, None, T, heads=2),
        ),
        "point mlp": (
            init_point_mlp(rng, 3, neighbours=2, **deep, **CLOUDS),
            lambda p: point_mlp(p, X, None, T, heads=2, neighbours=2),
        ),
        "potential": (init_potential_mlp(rng, 3, 3, width=8, **deep), lambda p: potential_mlp(p, A, A)),
        "velocity": (init_velocity(rng, 3, width=8, **deep), lambda p: velocity(p, X, T)),
        "embedding": (
            init_population_embedding(rng, 3, width=8, **deep),
            lambda p: population_embedding(p, X, knn_graph(X, 2)),
        ),
    }


@pytest.mark.parametrize("name", ["mlp", "transformer", "point mlp", "potential", "velocity", "embedding"])
def test_layers_come_by_their_numbers(name):
    params, network = networks_of(np.random.default_rng(0))[name]
    params = shaken(params)
    (value, pullback), (other, other_pullback) = network(params), network(sorted_by_name(params))
    np.testing.assert_array_equal(value, other)
    grads, others = (pull(np.ones_like(value)) for pull in (pullback, other_pullback))
    grads, others = (each[0] if isinstance(each, tuple) else each for each in (grads, others))
    assert_same(grads, others)
    # The check can see: with two layers exchanged the value is another one.
    key = next((key for key in ("mlp", "blocks", "hidden") if key in params), None)
    layers = params if key is None else params[key]
    exchanged = {**layers, "2": layers["10"], "10": layers["2"]}
    changed, _ = network(exchanged if key is None else {**params, key: exchanged})
    assert np.max(np.abs(changed - value)) > 1e-6


def assert_same(tree, other):
    assert tree.keys() == other.keys()
    for name, leaf in tree.items():
        if isinstance(leaf, dict):
            assert_same(leaf, other[name])
        else:
            np.testing.assert_array_equal(leaf, other[name])


@pytest.mark.skipif("torch" not in LIBRARIES, reason="torch is not tested")
def test_layers_of_the_torch_twin_come_by_their_numbers():
    pytest.importorskip("torch")
    from refwfm.backends._torch_transformer import transformer as twin

    place = backends.load("torch", dtype="float64")
    params, _ = networks_of(np.random.default_rng(0))["transformer"]
    params = shaken(params)

    def value(tree):
        found, _ = twin(on(tree, place), place.asarray(X), None, place.asarray(T), heads=2)
        return place.to_numpy(found)

    np.testing.assert_allclose(value(sorted_by_name(params)), value(params), atol=1e-12)


def on(tree, place):
    return {k: on(v, place) if isinstance(v, dict) else place.asarray(v) for k, v in tree.items()}

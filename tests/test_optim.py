"""Adam, decay, clipping, averaging, and the trees they work on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm._array import array_namespace, asarray_like, to_host
from refwfm.training import optim

TREE = {"a": {"w": np.arange(6.0).reshape(2, 3), "b": np.asarray([1.0, -2.0])}, "c": np.asarray(3.0)}


def random_like(tree, rng):
    return optim.tree_map(lambda x: rng.standard_normal(x.shape), tree)


def assert_trees_close(actual, expected, rtol):
    assert optim.flatten(actual).keys() == optim.flatten(expected).keys()
    for path, value in optim.flatten(expected).items():
        np.testing.assert_allclose(to_host(optim.flatten(actual)[path]), value, rtol=rtol, atol=rtol)


NAMES = st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1, max_size=3)
TREES = st.recursive(
    st.integers(), lambda children: st.dictionaries(NAMES, children, min_size=1, max_size=3), max_leaves=8
)


@given(tree=TREES)
def test_flatten_and_unflatten_undo_each_other(tree):
    assert optim.unflatten(optim.flatten(tree)) == tree
    assert sorted(optim.tree_leaves(tree)) == sorted(optim.flatten(tree).values())


def test_trees():
    assert set(optim.flatten(TREE)) == {"a/w", "a/b", "c"}
    assert optim.tree_map(lambda x, y: x + y, {"a": 1, "b": {"c": 2}}, {"a": 10, "b": {"c": 20}}) == {
        "a": 11,
        "b": {"c": 22},
    }
    # the order of keys is that of the tree for flatten, and sorted for leaves
    assert optim.tree_leaves({"b": 1, "a": 2}) == [2, 1]
    for other in ({"a": 1}, {"a": 1, "b": 2}, 3):
        with pytest.raises(ValueError, match="same keys"):
            optim.tree_map(lambda x, y: x, {"a": 1, "c": 2}, other)
    for flat in ({"a": 1, "a/b": 2}, {"a/b": 1, "a": 2}):
        with pytest.raises(ValueError, match="'a"):
            optim.unflatten(flat)


def test_first_step_of_adam_by_hand():
    params, grads = {"p": np.asarray([1.0, 2.0])}, {"p": np.asarray([0.5, -4.0])}
    moved, state = optim.adam(params, grads, optim.init_adam(params), learning_rate=0.1, eps=0.5)
    # m̂ = g and v̂ = g² in the first step: 1 - 0.1 · 0.5 / (0.5 + 0.5), 2 + 0.1 · 4 / (4 + 0.5)
    np.testing.assert_allclose(moved["p"], [0.95, 2.0 + 0.4 / 4.5], rtol=1e-15)
    np.testing.assert_allclose(state.first["p"], [0.05, -0.4], rtol=1e-14)
    np.testing.assert_allclose(state.second["p"], [0.00025, 0.016], rtol=1e-12)
    assert state.steps == 1
    np.testing.assert_array_equal(params["p"], [1.0, 2.0])


def test_adam_agrees_with_torch_over_many_steps():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    params, state = TREE, optim.init_adam(TREE)
    leaves = {path: torch.tensor(x, requires_grad=True) for path, x in optim.flatten(TREE).items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=0.03, betas=(0.8, 0.99), eps=1e-6)
    for _ in range(50):
        grads = random_like(TREE, rng)
        params, state = optim.adam(params, grads, state, learning_rate=0.03, b1=0.8, b2=0.99, eps=1e-6)
        for path, grad in optim.flatten(grads).items():
            leaves[path].grad = torch.tensor(grad)
        optimizer.step()
    expected = optim.unflatten({path: leaf.detach().numpy() for path, leaf in leaves.items()})
    assert_trees_close(params, expected, 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_libraries_give_the_same(dtype, xp_like):
    to = xp_like(dtype)

    def run(convert):
        rng = np.random.default_rng(0)
        params = average = optim.tree_map(convert, TREE)
        state = optim.init_adam(params)
        for step in range(3):
            grads, norm = optim.clip_by_global_norm(optim.tree_map(convert, random_like(TREE, rng)), 1.5)
            rate = optim.exponential_decay(step, base=0.1)
            params, state = optim.adam(params, grads, state, learning_rate=rate)
            average = optim.ema(average, params, decay=0.9)
        return {"params": params, "average": average, "norm": norm}

    actual = run(lambda x: asarray_like(x, to))
    for leaf in optim.tree_leaves(actual):
        assert leaf.dtype == to.dtype
        assert array_namespace(leaf) is array_namespace(to)
    assert_trees_close(actual, run(np.asarray), 1e-12 if dtype == "float64" else 1e-5)


def test_adam_refuses_trees_that_differ():
    state = optim.init_adam(TREE)
    with pytest.raises(ValueError, match="same keys"):
        optim.adam(TREE, {"a": TREE["a"]}, state, learning_rate=0.1)
    # an array of length one would be broadcast without a word
    with pytest.raises(ValueError, match=r"same shapes; got \(\) and \(1,\)"):
        optim.adam(TREE, {**TREE, "c": np.ones(1)}, state, learning_rate=0.1)


def test_decay_is_smooth_and_meets_the_papers_rate():
    assert optim.exponential_decay(0, base=2.0) == 2.0
    assert optim.exponential_decay(1000, base=2.0) == pytest.approx(2.0 * 0.97)
    assert optim.exponential_decay(2500, base=2.0) == pytest.approx(2.0 * 0.97**2.5)
    assert type(optim.exponential_decay(np.int64(7), base=2.0)) is float


@given(scale=st.floats(1e-3, 1e3), bound=st.floats(1e-2, 1e2))
def test_clipping(scale, bound):
    grads = optim.tree_map(lambda x: scale * x, TREE)
    expected = scale * math.sqrt(sum(float(np.sum(x * x)) for x in optim.tree_leaves(TREE)))
    clipped, norm = optim.clip_by_global_norm(grads, bound)
    assert float(norm) == pytest.approx(expected, rel=1e-12)
    if expected <= bound:
        assert_trees_close(clipped, grads, 0.0)
    else:
        assert float(optim.clip_by_global_norm(clipped, 1e9)[1]) == pytest.approx(bound, rel=1e-12)
        assert_trees_close(clipped, optim.tree_map(lambda x: x * (bound / expected), grads), 1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clipping_does_not_hide_a_bad_gradient(bad):
    with np.errstate(invalid="ignore"):
        clipped, norm = optim.clip_by_global_norm({"g": np.asarray([bad, 1.0])}, 1.0)
    assert not np.isfinite(norm)
    assert np.isnan(clipped["g"][0])


@pytest.mark.parametrize("bound", [0.0, -1.0, np.nan])
def test_clipping_refuses_a_bound_that_is_not_positive(bound):
    with pytest.raises(ValueError, match="max_norm must be positive"):
        optim.clip_by_global_norm(TREE, bound)


def test_ema_by_hand():
    average = {"p": np.asarray([1.0, 0.0])}
    for value in (2.0, 4.0):
        average = optim.ema(average, {"p": np.asarray([value, 1.0])}, decay=0.75)
    np.testing.assert_allclose(average["p"], [1.9375, 0.4375])
    with pytest.raises(ValueError, match="same keys"):
        optim.ema(average, {"q": average["p"]}, decay=0.5)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_clipping_does_not_mind_the_scale(scale):
    grads, norm = optim.clip_by_global_norm(
        {"a": np.asarray([3.0 * scale]), "b": np.asarray([4.0 * scale])}, scale
    )
    assert float(norm) == pytest.approx(5.0 * scale, rel=1e-14)
    assert float(grads["a"][0]) == pytest.approx(0.6 * scale, rel=1e-14)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_stays_visible(xp_like, wrong):
    like = xp_like("float32")
    grads = {"a": asarray_like(np.asarray([wrong, 1.0]), like), "b": asarray_like(np.ones(1), like)}
    with np.errstate(invalid="ignore"):  # infinity times zero
        clipped, norm = optim.clip_by_global_norm(grads, 1.0)
    assert not np.isfinite(to_host(norm))
    assert np.isnan(to_host(clipped["a"])[0])

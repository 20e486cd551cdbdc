"""The transformer for clouds: finite differences, torch's autograd, permutations, padding, labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm import networks as nets
from refwfm._array import array_namespace, asarray_like, device, to_host
from refwfm.training.optim import flatten, tree_map, unflatten

D, B, N, HEADS, WIDTH = 3, 3, 5, 2, 8
SIZES = np.asarray([5, 1, 3])  # one cloud of a single point
MASK = np.arange(N) < SIZES[:, None]
LABELS = np.asarray([2, 0, 2])
KINDS = ("none", "labels", "features")
SEEDS = st.integers(0, 2**32 - 1)


def small_network(rng, kind="none", d=D):
    options = {"none": {}, "labels": {"n_labels": 2}, "features": {"n_features": 2}}[kind]
    params = nets.init_transformer(
        rng,
        d,
        like=np.zeros(0),
        width=WIDTH,
        depth=2,
        heads=HEADS,
        hidden=6,
        n_frequencies=2,
        label_dim=3,
        **options,
    )
    # Away from the initial values, at which half of all derivatives are zero.
    return tree_map(lambda p: p + 0.3 * rng.standard_normal(p.shape), params)


def small_labels(rng, kind):
    features = rng.standard_normal((B, 2))
    features[1] = np.nan  # no label
    return {"none": None, "labels": LABELS, "features": features}[kind]


def small_clouds(rng, d=D, n=N):
    return rng.standard_normal((B, n, d)), rng.uniform(size=B)


def velocity(params, points, mask, t, labels=None):
    return nets.transformer(params, points, mask, t, labels, heads=HEADS)[0]


def value_and_grads(params, points, mask, t, labels, g):
    v, pullback = nets.transformer(params, points, mask, t, labels, heads=HEADS)
    return v, pullback(g)


# Gradients


def scalar_attention(mask):
    def call(inputs):
        y, pullback = nets.attention(inputs["q"], inputs["k"], inputs["v"], mask)
        return y, lambda g: dict(zip("qkv", pullback(g), strict=True))

    return call


def multi_head(inputs):
    y, pullback = nets.multi_head_attention(inputs["params"], inputs["x"], MASK, heads=HEADS)
    return y, lambda g: dict(zip(("params", "x"), pullback(g), strict=True))


def one_block(inputs):
    y, pullback = nets.transformer_block(
        inputs["params"], inputs["h"], inputs["condition"], MASK, heads=HEADS
    )
    return y, lambda g: dict(zip(("params", "h", "condition"), pullback(g), strict=True))


def whole(kind, mask):
    rng = np.random.default_rng(5)
    points, t = small_clouds(rng)
    labels = small_labels(rng, kind)
    return lambda params: nets.transformer(params, points, mask, t, labels, heads=HEADS)


def cases():
    rng = np.random.default_rng(0)
    normal = rng.standard_normal
    qkv = {"q": normal((B, 2, 4, 6)), "k": normal((B, 2, N, 6)), "v": normal((B, 2, N, 4))}
    params = small_network(rng)["blocks"]["0"]
    inputs = {"params": params, "h": normal((B, N, WIDTH)), "condition": normal((B, 4))}
    found = {
        "attention": (scalar_attention(None), qkv),
        "attention, masked": (scalar_attention(MASK[:, None]), qkv),
        "attention, one query": (scalar_attention(None), {name: x[0, 0] for name, x in qkv.items()}),
        "heads": (multi_head, {"params": params["attention"], "x": inputs["h"]}),
        "block": (one_block, inputs),
    }
    for kind in KINDS:
        found[f"network, {kind}"] = (whole(kind, None), small_network(rng, kind))
        found[f"network, masked, {kind}"] = (whole(kind, MASK), small_network(rng, kind))
    return found


CASES = cases()


def pullback_error(call, inputs, h=1e-5):
    """Largest error of a pullback against central differences, in units of the gradient's norm.

    Small arrays are moved entry by entry, large ones along random directions. The differences have an error
    of about h² (of third derivatives of order one) and 1e-16 / h: some 1e-10.
    """
    rng = np.random.default_rng(1)
    y, pullback = call(inputs)
    g = rng.standard_normal(y.shape)
    grads, flat = flatten(pullback(g)), flatten(inputs)
    assert grads.keys() == flat.keys()
    size = np.sqrt(sum(np.sum(grad * grad) for grad in grads.values()))
    worst = 0.0
    for path, value in flat.items():
        assert grads[path].shape == value.shape, path
        if value.size <= 64:
            ways = list(np.eye(value.size).reshape(-1, *value.shape))
        else:
            ways = [rng.standard_normal(value.shape) for _ in range(4)]
        for way in ways:
            up, down = (call(unflatten({**flat, path: value + sign * way}))[0] for sign in (h, -h))
            slope = np.sum(g * (up - down)) / (2 * h)
            worst = max(worst, abs(slope - np.sum(grads[path] * way)) / size)
    return worst


@pytest.mark.parametrize("name", CASES)
def test_pullback_agrees_with_finite_differences(name):
    assert pullback_error(*CASES[name]) < 1e-7


def wrong_attention(inputs):
    """Without the part of the softmax's derivative that keeps the weights' sum."""
    q, k, v = (inputs[name] for name in "qkv")
    y, pullback = nets.attention(q, k, v)
    z = np.exp(q @ k.mT / np.sqrt(q.shape[-1]))
    weights = z / z.sum(axis=-1, keepdims=True)

    def wrong(g):
        d_scores = weights * (g @ v.mT) / np.sqrt(q.shape[-1])
        return {"q": d_scores @ k, "k": d_scores.mT @ q, "v": pullback(g)[2]}

    return y, wrong


def wrong_skip(inputs):
    y, pullback = one_block(inputs)
    return y, lambda g: {**pullback(g), "h": pullback(g)["h"] - g}


def wrong_padding(params):
    """Gradient of the padding's velocity let in."""
    y, _ = whole("none", MASK)(params)
    return y, whole("none", None)(params)[1]


@pytest.mark.parametrize(
    ("call", "inputs"),
    [
        (wrong_attention, CASES["attention"][1]),
        (wrong_skip, CASES["block"][1]),
        (wrong_padding, CASES["network, masked, none"][1]),
    ],
)
def test_finite_differences_reject_wrong_pullbacks(call, inputs):
    assert pullback_error(call, inputs) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", [None, MASK])
def test_pullback_agrees_with_autograd(kind, mask):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    params = flatten(small_network(rng, kind))
    points, t = small_clouds(rng)
    labels = small_labels(rng, kind)
    points, t, g = (torch.asarray(x) for x in (points, t, rng.standard_normal((B, N, D))))
    mask = None if mask is None else torch.asarray(mask)
    labels = None if labels is None else torch.asarray(labels)
    leaves = {path: torch.asarray(p).requires_grad_() for path, p in params.items()}
    v, pullback = nets.transformer(unflatten(leaves), points, mask, t, labels, heads=HEADS)
    grads = torch.autograd.grad(v, list(leaves.values()), g)
    with torch.no_grad():
        ours = flatten(pullback(g))
    assert ours.keys() == leaves.keys()
    for path, grad in zip(leaves, grads, strict=True):
        np.testing.assert_allclose(ours[path], grad, rtol=1e-10, atol=1e-12, err_msg=path)


def test_attention_is_torchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    q, k, v = (rng.standard_normal((B, 2, n, 6)) for n in (4, N, N))
    expected = torch.nn.functional.scaled_dot_product_attention(
        *(torch.asarray(x) for x in (q, k, v)), attn_mask=torch.asarray(MASK[:, None, None, :])
    )
    np.testing.assert_allclose(nets.attention(q, k, v, MASK[:, None])[0], expected, rtol=1e-12, atol=1e-14)


# Libraries


@pytest.mark.parametrize("kind", KINDS)
def test_all_libraries(library, kind):
    rng = np.random.default_rng(4)
    params, (points, t) = small_network(rng, kind), small_clouds(rng)
    labels = small_labels(rng, kind)
    g = rng.standard_normal(points.shape)
    for batch in library.batches:
        size = int(np.prod(batch))
        shaped = [
            None if x is None else x[:size].reshape((*batch, *x.shape[1:]))
            for x in (points, MASK, t, labels, g)
        ]
        library.check(value_and_grads, params, *shaped, ulps=1000)


def test_initial_weights_are_the_same_numbers_in_every_library(xp_like):
    def draw(to):
        return nets.init_transformer(
            np.random.default_rng(3), 2, like=to, width=4, depth=1, heads=2, hidden=3, n_features=2
        )

    expected = flatten(draw(np.zeros(0, np.float32)))
    for path, value in flatten(draw(xp_like("float32"))).items():
        np.testing.assert_array_equal(to_host(value), expected[path])


def test_guidance(library):
    rng = np.random.default_rng(0)
    with_label, without = rng.standard_normal((2, 3, 4))
    library.check(nets.guidance, with_label, without, 1.5, ulps=4)
    np.testing.assert_array_equal(nets.guidance(with_label, without, 0.0), with_label)
    np.testing.assert_allclose(nets.guidance(with_label, with_label, 2.0), with_label)
    assert nets.guidance(np.asarray(1.0), np.asarray(0.0), 1.0) == 2.0


# Symmetries and padding


@given(seed=SEEDS, n=st.integers(1, 7), d=st.integers(1, 4), masked=st.booleans())
def test_equivariant_to_permutations(seed, n, d, masked):
    rng = np.random.default_rng(seed)
    params, (points, t) = small_network(rng, d=d), small_clouds(rng, d, n)
    mask = rng.random((B, n)) < 0.6 if masked else None
    order = rng.permutation(n)
    expected = velocity(params, points, mask, t)[:, order]
    moved = velocity(params, points[:, order], None if mask is None else mask[:, order], t)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-11 * max(1.0, np.max(np.abs(expected))))


@given(seed=SEEDS, extra=st.integers(0, 6), junk=st.sampled_from([0.0, 1e30, np.nan, np.inf]))
def test_padding_has_no_influence(seed, extra, junk):
    rng = np.random.default_rng(seed)
    params, (points, t) = small_network(rng), small_clouds(rng)
    g = rng.standard_normal(points.shape)
    padded, padded_g = (np.full((B, N + extra, D), junk) for _ in range(2))
    padded[:, :N], padded_g[:, :N] = points, g
    padded[:, :N][~MASK] = padded_g[:, :N][~MASK] = junk
    mask = np.zeros((B, N + extra), dtype=bool)
    mask[:, :N] = MASK
    v, pullback = nets.transformer(params, padded, mask, t, heads=HEADS)
    assert not np.any(v[~mask])
    grads, summed = flatten(pullback(padded_g)), None
    for i, n in enumerate(SIZES):  # each cloud by itself, without padding
        alone, alone_pullback = nets.transformer(params, points[i, :n], None, t[i], heads=HEADS)
        np.testing.assert_allclose(v[i, :n], alone, rtol=1e-9, atol=1e-11)
        part = alone_pullback(g[i, :n])
        summed = part if summed is None else tree_map(np.add, summed, part)
    for path, grad in flatten(summed).items():
        scale = np.max(np.abs(grad)) + 1.0
        np.testing.assert_allclose(grads[path], grad, rtol=0, atol=1e-10 * scale, err_msg=path)


def test_a_cloud_without_live_points_is_zero():
    rng = np.random.default_rng(0)
    params, (points, t) = small_network(rng), small_clouds(rng)
    mask = MASK.copy()
    mask[2] = False
    v, pullback = nets.transformer(params, points, mask, t, heads=HEADS)
    assert not np.any(v[2])
    for grad in flatten(pullback(np.ones_like(v))).values():
        assert np.all(np.isfinite(grad))


def test_one_point_reads_itself():
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 1, 4))
    np.testing.assert_array_equal(nets.attention(q, k, v)[0], v)


def test_softmax_is_stable():
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((4, 6)).astype(np.float32) for _ in range(3))
    with np.errstate(all="raise", under="ignore"):
        y, pullback = nets.attention(np.float32(1e6) * q, k, v)
        assert all(np.all(np.isfinite(x)) for x in (y, *pullback(v)))
    nearest = v[np.argmax(q @ k.T, axis=-1)]
    np.testing.assert_allclose(y, nearest, rtol=1e-6)


def test_nan_among_live_points_stays_visible():
    rng = np.random.default_rng(0)
    params, (points, t) = small_network(rng), small_clouds(rng)
    points[0, 0, 0] = np.nan
    v = velocity(params, points, MASK, t)
    assert np.all(np.isnan(v[0]))
    assert np.all(np.isfinite(v[1:]))


# Initial field, labels


@given(seed=SEEDS, kind=st.sampled_from(KINDS))
def test_untrained_field_is_zero(seed, kind):
    rng = np.random.default_rng(seed)
    options = {"none": {}, "labels": {"n_labels": 2}, "features": {"n_features": 2}}[kind]
    params = nets.init_transformer(
        rng, D, like=np.zeros(0), width=WIDTH, depth=2, heads=HEADS, hidden=6, **options
    )
    points, t = small_clouds(rng)
    assert not np.any(velocity(params, points, MASK, t, small_labels(rng, kind)))


def test_default_network_is_six_blocks_of_512():
    params = nets.init_transformer(np.random.default_rng(0), 3, like=np.zeros(0, np.float32))
    shapes = {path: p.shape for path, p in flatten(params).items() if path.endswith("weight")}
    expected = {"in/weight": (3, 512), "out/weight": (512, 3)}
    for layer in range(6):
        expected[f"blocks/{layer}/condition/weight"] = (32, 512)
        expected[f"blocks/{layer}/attention/qkv/weight"] = (512, 1536)
        for name in ("attention/out", "feed/in", "feed/out"):
            expected[f"blocks/{layer}/{name}/weight"] = (512, 512)
    assert shapes == expected
    assert all(p.dtype == np.float32 for p in flatten(params).values())


@pytest.mark.parametrize("kind", ["labels", "features"])
def test_labels_matter_and_none_is_one_of_them(kind):
    rng = np.random.default_rng(0)
    params, (points, t) = small_network(rng, kind), small_clouds(rng)
    labels = {"labels": np.asarray([0, 1, 0]), "features": rng.standard_normal((B, 2))}[kind]
    none = nets.unlabelled(params, labels)
    assert none.shape == labels.shape
    assert none.dtype == labels.dtype
    fields = [velocity(params, points, MASK, t, x) for x in (labels, labels[::-1].copy() + 0, none)]
    live = MASK[..., None] & np.ones(D, dtype=bool)
    assert np.min(np.abs(fields[0] - fields[2])[live]) > 0
    if kind == "features":
        assert np.min(np.abs(fields[0] - fields[1])[[0, 2]][live[[0, 2]]]) > 0
    others = dict(params["labels"])
    key = "table" if kind == "labels" else "none"
    others[key] = others[key] + (np.arange(3)[:, None] == 2 if kind == "labels" else 1.0)
    moved = [velocity({**params, "labels": others}, points, MASK, t, x) for x in (labels, none)]
    np.testing.assert_array_equal(moved[0], fields[0])  # the row of "no label" is nobody else's
    assert np.min(np.abs(moved[1] - fields[2])[live]) > 0


def test_a_vector_with_some_nan_is_not_no_label():
    rng = np.random.default_rng(0)
    params, (points, t) = small_network(rng, "features"), small_clouds(rng)
    labels = np.asarray([[np.nan, 0.0], [np.nan, np.nan], [0.0, 0.0]])
    v = velocity(params, points, None, t, labels)
    assert np.all(np.isnan(v[0]))
    assert np.all(np.isfinite(v[1:]))


# Bad input


def test_clear_errors_of_shapes():
    rng = np.random.default_rng(0)
    params, (points, t) = small_network(rng), small_clouds(rng)
    with pytest.raises(ValueError, match=r"parameters' d = 3; got \(3, 5, 2\)"):
        velocity(params, points[..., :2], MASK, t)
    with pytest.raises(ValueError, match=r"n >= 1.*got \(3, 0, 3\)"):
        velocity(params, points[:, :0], MASK[:, :0], t)
    with pytest.raises(ValueError, match=r"points must have shape .* got \(3,\)"):
        velocity(params, points[0, 0], None, t[0])
    with pytest.raises(ValueError, match=r"mask must have the shape \(3, 5\).*got \(3, 4\)"):
        velocity(params, points, MASK[:, :4], t)
    with pytest.raises(TypeError, match=r"booleans.*float64"):
        velocity(params, points, MASK / 5.0, t)
    with pytest.raises(ValueError, match=r"t must have the shape \(3,\).*got \(2,\)"):
        velocity(params, points, MASK, t[:2])
    with pytest.raises(ValueError, match="heads must divide the width 8; got 3"):
        nets.transformer(params, points, MASK, t, heads=3)
    with pytest.raises(ValueError, match="heads must divide the width 8; got 0"):
        nets.transformer(params, points, MASK, t, heads=0)


def test_clear_errors_of_labels():
    rng = np.random.default_rng(0)
    points, t = small_clouds(rng)
    plain, discrete, vector = (small_network(rng, kind) for kind in KINDS)
    with pytest.raises(ValueError, match="expect no labels; got some"):
        velocity(plain, points, MASK, t, LABELS)
    with pytest.raises(ValueError, match=r"expect labels.*got none"):
        velocity(discrete, points, MASK, t)
    with pytest.raises(TypeError, match=r"labels must be integers.*float64"):
        velocity(discrete, points, MASK, t, LABELS / 2.0)
    with pytest.raises(ValueError, match=r"labels must have shape \(3,\).*got \(2,\)"):
        velocity(discrete, points, MASK, t, LABELS[:2])
    with pytest.raises(TypeError, match=r"labels must be real vectors.*int64"):
        velocity(vector, points, MASK, t, LABELS)
    with pytest.raises(ValueError, match=r"labels must have shape \(3, 2\).*got \(3, 3\)"):
        velocity(vector, points, MASK, t, np.zeros((3, 3)))
    nets.check_labels(LABELS, 3)
    with pytest.raises(ValueError, match=r"0 \.\.\. 2; got"):
        nets.check_labels(LABELS + 1, 3)


def test_clear_errors_of_sizes():
    def draw(**options):
        nets.init_transformer(np.random.default_rng(0), 2, like=np.zeros(0), width=8, **options)

    with pytest.raises(ValueError, match="heads must divide the width 8; got 3"):
        draw(heads=3)
    with pytest.raises(ValueError, match="depth must be at least 1; got 0"):
        draw(depth=0)
    with pytest.raises(ValueError, match="not both; got 2 and 3"):
        draw(n_labels=2, n_features=3)


def test_float32_stays_float32():
    rng = np.random.default_rng(0)
    to = np.zeros(0, np.float32)
    params = tree_map(lambda p: asarray_like(p, to), small_network(rng, "features"))
    points, t = (x.astype(np.float32) for x in small_clouds(rng))
    labels = small_labels(rng, "features").astype(np.float32)
    v, pullback = nets.transformer(params, points, MASK, t, labels, heads=HEADS)
    assert array_namespace(v) is array_namespace(points)
    assert device(v) == device(points)
    assert {x.dtype for x in (v, *flatten(pullback(v)).values())} == {np.dtype(np.float32)}

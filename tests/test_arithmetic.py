"""Networks in reduced precision, and compiled: what changes is close, and nothing else changes."""

import tomllib

import numpy as np
import pytest
from command import assert_error, refwfm, succeed
from conftest import arrays_in
from thirds import THOROUGH

torch = pytest.importorskip("torch")

from refwfm import backends, datasets, networks  # noqa: E402
from refwfm.backends import BackendError, _torch_arithmetic, _torch_transformer  # noqa: E402
from refwfm.backends.arithmetic import with_arithmetic  # noqa: E402
from refwfm.measures import Gaussian  # noqa: E402
from refwfm.runs import models  # noqa: E402
from refwfm.training import algorithm, optim  # noqa: E402
from refwfm.training.config import CloudConfig, GaussianConfig  # noqa: E402
from refwfm.training.flows import flow_of  # noqa: E402
from refwfm.training.regression import CloudBatch, GaussianBatch  # noqa: E402

NETWORKS = {"cloud_loss_and_grad", "gaussian_loss_and_grad", "cloud_velocity"}
SMALL = {"steps": 60, "batch": 8, "width": 32, "depth": 2}


@pytest.fixture
def plain():
    return backends.load("torch:cpu")


def tensor(values):
    return torch.tensor(np.asarray(values), dtype=torch.float32)


def clouds(rng, depth=2, width=32):
    """Parameters in which nothing is zero, and a batch with padding."""
    params = networks.init_transformer(
        rng, 3, like=tensor(0.0), width=width, depth=depth, heads=2, hidden=width, n_frequencies=4
    )
    params = optim.tree_map(lambda leaf: leaf + 0.1 * tensor(rng.normal(size=leaf.shape)), params)
    weights = np.full((4, 30), 1 / 30)
    weights[1, 20:] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    points, target = rng.normal(size=(2, 4, 30, 3)) * (weights > 0)[..., None]
    t = rng.uniform(size=4)
    return params, CloudBatch(*map(tensor, (points, weights, target, t)), None)


def gaussians(rng):
    params = networks.init_bures_mlp(rng, 2, like=tensor(0.0), width=32, depth=2, n_frequencies=4)
    params = optim.tree_map(lambda leaf: leaf + 0.1 * tensor(rng.normal(size=leaf.shape)), params)
    cov = rng.normal(size=(8, 2, 2))
    mu = Gaussian(tensor(rng.normal(size=(8, 2))), tensor(cov @ cov.swapaxes(1, 2) + np.eye(2)))
    from refwfm.bures import Tangent

    target = Tangent(tensor(rng.normal(size=(8, 2))), 0.1 * (mu.cov - torch.eye(2)))
    return params, GaussianBatch(mu, target, tensor(rng.uniform(size=8)), None)


def losses(ops, rng):
    """Loss and gradient of both networks."""
    params, batch = clouds(rng)
    found = [ops.cloud_loss_and_grad(params, batch, heads=2)]
    params, batch = gaussians(rng)
    scaling = networks.identity_scaling(2, like=tensor(0.0))
    return [*found, ops.gaussian_loss_and_grad(params, scaling, batch, method="riemannian")]


def flat(tree):
    return torch.cat([leaf.flatten() for _, leaf in sorted(optim.flatten(tree).items())])


# bf16


def test_losses_and_gradients_are_close_and_float32(plain):
    reduced = with_arithmetic(plain, precision="bf16")
    pairs = zip(*(losses(b.ops, np.random.default_rng(0)) for b in (plain, reduced)), strict=True)
    for (loss, grads), (low, low_grads) in pairs:
        assert low.dtype == torch.float32
        assert {leaf.dtype for leaf in optim.flatten(low_grads).values()} == {torch.float32}
        assert float(abs(low - loss) / loss) < 1e-2
        error = float(torch.linalg.norm(flat(low_grads) - flat(grads)) / torch.linalg.norm(flat(grads)))
        assert 1e-4 < error < 3e-2  # the lower bound: it is bf16 that computes


def test_nothing_but_the_networks_changes(plain):
    reduced = with_arithmetic(plain, precision="bf16")
    changed = {name for name, new in reduced.ops._asdict().items() if new is not getattr(plain.ops, name)}
    assert changed == NETWORKS
    assert with_arithmetic(plain) is with_arithmetic(plain, precision="float32") is plain


def test_the_velocity_is_close_and_padding_stays_zero(plain, rng):
    params, batch = clouds(rng)
    mask = batch.weights > 0
    mask[2] = False  # a cloud of padding alone: no NaN
    given = (params, batch.points, mask, batch.t)
    low, truth = (
        b.ops.cloud_velocity(*given, heads=2) for b in (with_arithmetic(plain, precision="bf16"), plain)
    )
    assert low.dtype == torch.float32
    assert not low[~mask].any()
    assert bool(torch.isfinite(low).all())
    error = float(torch.linalg.norm(low - truth) / torch.linalg.norm(truth))
    assert 1e-4 < error < 2e-2


@pytest.mark.parametrize("kind", [CloudConfig, GaussianConfig])
def test_plans_are_the_same_bits_and_the_loss_falls(plain, kind):
    more = {"heads": 2, "hidden": 32, "inner": "entropic"} if kind is CloudConfig else {}
    config = kind(**SMALL, **more, learning_rate=3e-3)
    family = datasets.load("fours" if kind is CloudConfig else "cities")
    reduced = with_arithmetic(plain, precision="bf16")
    batches, reports = [], []
    for place in (plain, reduced):
        model, data = models.prepare(config, family, place)
        batch = flow_of(config).draw_batch(config, model.setting, data, family.labels, 3, ops=place.ops)
        batches.append(batch)
        found = []
        state = algorithm.train(
            config, model.setting, data, family.labels, model.state,
            ops=place.ops, every=20, report=lambda _, m, found=found: found.append(m),
        )  # fmt: skip
        reports.append(found)
        assert {leaf.dtype for leaf in optim.flatten(state.params).values()} == {torch.float32}
    ours, truth = (arrays_in((*batch[:3], batch.plan_error)) for batch in batches)
    assert len(ours) > 2
    assert all(torch.equal(*pair) for pair in zip(ours, truth, strict=True))
    assert [m.plan_error for m in reports[0]] == [m.plan_error for m in reports[1]]
    assert [m.plan_iterations for m in reports[0]] == [m.plan_iterations for m in reports[1]]
    for high, low in zip(*reports, strict=True):
        assert low.loss == pytest.approx(high.loss, rel=0.05)
        assert low.loss != high.loss
    if kind is CloudConfig:  # of cities, sixty steps learn less than the batches differ by
        assert reports[1][-1].loss < reports[1][0].loss


# TF32


def setting():
    matmul = torch.backends.cuda.matmul
    return getattr(matmul, "fp32_precision", None) or matmul.allow_tf32


def test_tf32_is_set_within_the_network_only_and_restored(rng):
    before, seen = setting(), []

    def layers(*given):
        seen.append(setting())
        return _torch_transformer.transformer_layers(*given)

    params, batch = clouds(rng)
    velocity, pullback = _torch_transformer.transformer(
        params, batch.points, None, batch.t, heads=2, layers=layers, around=_torch_arithmetic.tf32
    )
    assert seen in (["tf32"], [True])
    assert setting() == before
    velocity_hook = []
    original = torch.autograd.grad
    torch.autograd.grad = lambda *a, **k: (velocity_hook.append(setting()), original(*a, **k))[1]
    try:
        pullback(torch.ones_like(velocity))
    finally:
        torch.autograd.grad = original
    assert velocity_hook == seen
    assert setting() == before
    truth, _ = _torch_transformer.transformer(params, batch.points, None, batch.t, heads=2)
    assert torch.equal(velocity, truth)  # on a CPU it changes nothing


def test_tf32_is_restored_after_an_error():
    before = setting()
    with pytest.raises(ZeroDivisionError), _torch_arithmetic.tf32():
        _ = 1 / (setting() not in ("tf32", True))
    assert setting() == before


# Compiled


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of what its compiler imports
def test_compiled_layers_are_the_references(plain, monkeypatch, backend):
    """The hand-written pullback asks autograd for the derivative of what was compiled."""
    if backend == "inductor" and not THOROUGH:
        pytest.skip("half a minute of a C++ compiler: aot_eager has all but its kernels")
    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, mode: original(f, mode=mode, backend=backend))
    compiled = with_arithmetic(plain, compiled=True)
    params, batch = clouds(np.random.default_rng(0), depth=1, width=8)
    for _ in range(2):
        (loss, grads), (truth, expected) = (
            b.ops.cloud_loss_and_grad(params, batch, heads=2) for b in (compiled, plain)
        )
        assert float(abs(loss - truth)) < 1e-5 * float(truth)
        largest = float(torch.max(torch.abs(flat(expected))))
        assert float(torch.max(torch.abs(flat(grads) - flat(expected)))) < 1e-5 * largest
        params = optim.tree_map(lambda leaf: 1.1 * leaf, params)  # the next step has other numbers


def test_on_cuda_the_step_is_marked_for_graphs(plain, monkeypatch):
    marked, options = [], []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marked.append(1))
    monkeypatch.setattr(torch, "compile", lambda f, mode: (options.append(mode), f)[1])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    gpu = with_arithmetic(plain._replace(device="cuda"), precision="tf32", compiled=True)
    assert options == ["reduce-overhead"] * 2
    losses(gpu.ops, np.random.default_rng(0))
    assert len(marked) == 2


# Errors


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("numpy", {"precision": "bf16"}, "precision bf16 needs torch .*; numpy"),
        ("numpy", {"compiled": True}, "compile needs torch .*; numpy"),
        ("jax", {"precision": "tf32"}, "precision tf32 needs torch .*; jax"),
        ("jax", {"compiled": True}, "jax compiles the network of every run by itself; leave compile out"),
        ("torch:cpu", {"precision": "tf32"}, r"precision tf32 needs a GPU \(--backend torch:cuda\)"),
        ("torch:cpu", {"precision": "fp8"}, "unknown precision 'fp8'; choose one of float32, tf32, bf16"),
    ],
)
def test_what_cannot_compute_so_says_so(name, options, message):
    pytest.importorskip(name.partition(":")[0])
    with pytest.raises(BackendError, match=message):
        with_arithmetic(backends.load(name), **options)


def test_other_conflicts(plain, monkeypatch):
    for options, message in (
        ({"dtype": "float64"}, "precision bf16 is for dtype float32; got float64"),
        ({"reference": True}, "precision bf16 is for the faster twins of the networks; leave reference out"),
    ):
        with pytest.raises(BackendError, match=message):
            with_arithmetic(backends.load("torch:cpu", **options), precision="bf16")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    with pytest.raises(BackendError, match=r"precision bf16 needs a GPU of compute capability 8\.0 or more"):
        with_arithmetic(plain._replace(device="cuda"), precision="bf16")


# The command

TRAIN = ["train", "--steps", "2", "--batch", "2", "--width", "8", "--depth", "1", "--quiet"]
TRAIN += ["--backend", "torch:cpu"]


def test_a_run_says_how_it_was_computed_and_can_go_on_otherwise(tmp_path, undrawn):
    out = str(tmp_path / "run")
    said = succeed(*TRAIN, "--data", "cities", "--out", out, "--precision", "bf16")
    assert "layers of the network: bf16\n" in said
    tables = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert tables["run"]["precision"] == "bf16"
    assert "precision" not in tables["train"]
    succeed("train", "--resume", "--out", out, "--steps", "3", "--precision", "float32", "--quiet")
    again = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert again["run"]["precision"] == "float32"


def test_clouds_are_generated_in_bf16(tmp_path):
    files = [tmp_path / name for name in ("bf16.npz", "float32.npz")]
    generate = ["generate", "fours", "--size", "2", "--steps", "2", "--points", "30"]
    for file, precision in zip(files, ("bf16", "float32"), strict=True):
        succeed(*generate, "--out", str(file), "--precision", precision, "--backend", "torch:cpu")
    low, truth = (np.load(file)["points"] for file in files)
    assert 1e-4 < np.linalg.norm(low - truth) / np.linalg.norm(truth) < 0.05
    again = [*generate, "--out", str(files[0]), "--force"]
    assert_error(refwfm(*again, "--precision", "bf16"), "precision bf16 needs torch")
    assert_error(refwfm(*again, "--precision", "fp8"), "unknown precision 'fp8'")


def test_commands_that_cannot_say_so(tmp_path):
    out = ["--out", str(tmp_path / "run")]
    assert_error(
        refwfm(*TRAIN, *out, "--data", "fours", "--network", "baseline", "--precision", "bf16"),
        "is for the transformer",
    )
    pairs = ["train", "--kind", "meta-ot", "--data", "fours", "--steps", "1", "--compile", *out]
    assert_error(refwfm(*pairs), "--compile is for flows of Gaussians and of clouds")
    assert_error(
        refwfm("generate", "cities", "--out", str(tmp_path / "c.npz"), "--precision", "bf16"),
        "--precision bf16 is for models of clouds",
    )

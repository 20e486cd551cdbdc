"""The Triton kernel of the streamed soft minimum: run by Triton's interpreter, and compiled for a GPU.

The interpreter replaces the compiler when Triton is imported, so each has a process of its own. Neither needs
a GPU.
"""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from refwfm.backends import _torch_streaming, load  # noqa: E402
from refwfm.transport.streaming import sinkhorn_points, streamed_softmin  # noqa: E402

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")

SHAPES = {
    "one point": ((1, 1), (1, 1), ()),
    "less than a block": ((7, 3), (5, 3), ()),
    "blocks": ((64, 2), (128, 2), ()),
    "a row and a column more": ((65, 3), (129, 3), ()),
    "many coordinates": ((33, 20), (70, 20), ()),
    "batch": ((3, 40, 3), (3, 70, 3), (3,)),
    "batches that broadcast": ((2, 1, 35, 3), (4, 66, 3), (2, 4)),
    "none": ((0, 4, 3), (0, 5, 3), (0,)),
}

INTERPRETED = """
import json, sys
import numpy as np, torch
from refwfm.backends._torch_streaming import kernel_softmin

given = np.load(sys.argv[1])
found = {}
for name in sorted({key.rpartition("/")[0] for key in given}):
    tensors = [torch.as_tensor(given[f"{name}/{part}"]) for part in ("x", "y", "p", "w", "eps")]
    found[name] = kernel_softmin(*tensors).numpy()
np.savez(sys.argv[2], **found)
"""

COMPILED = """
import json, re, sys
import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from refwfm.backends import _triton_softmin as twin

found = {}
for dtype, kind in ((torch.float32, "fp32"), (torch.float64, "fp64")):
    for d in (3, 20):
        number = torch.finfo(dtype)
        constants = dict(D=d, LOWEST=number.min, ROOT=number.eps**0.5, UNROLL=d <= twin.UNROLLED)
        constants |= dict(N=twin.ROWS[dtype], M=twin.COLUMNS[dtype])
        arrays = ("x_at", "y_at", "potential_at", "weights_at", "logs_at", "eps_at", "out_at")
        kinds = dict.fromkeys(arrays, "*" + kind) | dict.fromkeys(("n", "m", "row_blocks"), "i32")
        source = ASTSource(twin._kernel, kinds | dict.fromkeys(constants, "constexpr"), constants)
        options = {"num_warps": 4, "enable_fp_fusion": True}
        ptx = compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]
        found[f"{kind} {d}"] = [len(re.findall(word, ptx)) for word in ("mma|tf32", "fma.rn", "ex2|exp")]
print(json.dumps(found))
"""


def python(script, *arguments, **variables):
    import os

    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
    ).stdout


def cases():
    """Clouds of all shapes, padding among them, for eps from a hundredth of the cost to infinity."""
    rng, found = np.random.default_rng(0), {}
    for dtype in ("float32", "float64"):
        for shape, (of_x, of_y, batch) in SHAPES.items():
            x, y = rng.normal(size=of_x), rng.normal(size=of_y) + 0.5
            w = rng.dirichlet(np.ones(of_y[-2]), size=batch)
            p = rng.normal(size=(*batch, of_y[-2]))
            if of_y[-2] > 60:  # a whole block of padding, and what it holds
                w[..., :64], y[..., :64, :], p[..., :64] = 0.0, np.nan, np.nan
                w /= np.sum(w, axis=-1, keepdims=True)
            for eps in (0.01, 1.0, 1e9, np.inf):
                found[f"{dtype} {shape} {eps}"] = (x, y, p, w, np.full(batch, eps))
        x, y = 1e-3 * rng.normal(size=(2, 40, 3)) + 1000.0
        y[3] = -1e6  # float32 keeps 1e-4 of 1000
        found[f"{dtype} far 1e-06"] = (x, y, np.zeros(40), np.full(40, 1 / 40), np.asarray(1e-6))
        found[f"{dtype} tiny 1e-30"] = (x, y, np.zeros(40), np.full(40, 1 / 40), np.asarray(1e-30))
    return {name: [v.astype(name.partition(" ")[0]) for v in arrays] for name, arrays in found.items()}


@needs_triton
def test_the_kernel_is_the_reference(tmp_path):
    given = cases()
    named = {
        f"{name}/{part}": value
        for name, arrays in given.items()
        for part, value in zip(("x", "y", "p", "w", "eps"), arrays, strict=True)
    }
    np.savez(tmp_path / "given.npz", **named)
    python(INTERPRETED, tmp_path / "given.npz", tmp_path / "found.npz", TRITON_INTERPRET="1")
    results = np.load(tmp_path / "found.npz")
    for name, arrays in given.items():
        truth, found = streamed_softmin(*arrays), results[name]
        assert found.shape == truth.shape, name
        assert found.dtype == truth.dtype, name
        number = np.finfo(truth.dtype)
        eps = float(name.rpartition(" ")[2])
        logarithm = eps if eps * number.eps**0.5 < 100 else 0.0
        allowed = 50 * number.eps * (np.max(np.abs(truth), initial=1e-6) + logarithm)
        np.testing.assert_allclose(found, truth, rtol=0, atol=allowed, err_msg=name)


@needs_triton
@pytest.mark.slow
def test_the_kernel_compiles_for_a_gpu_and_uses_no_tensor_core(tmp_path):
    found = json.loads(python(COMPILED, TRITON_CACHE_DIR=str(tmp_path)))
    assert set(found) == {"fp32 3", "fp32 20", "fp64 3", "fp64 20"}
    for reduced, products, exponentials in found.values():
        assert reduced == 0
        assert products > 10
        assert exponentials > 0


# Which of the two is taken


def tensors(**options):
    rng = np.random.default_rng(0)
    arrays = (rng.normal(size=(6, 3)), rng.normal(size=(5, 3)), rng.normal(size=5), np.full(5, 0.2), 0.5)
    return [torch.tensor(v, dtype=torch.float64, **options) for v in arrays]


def test_on_the_cpu_and_under_autograd_it_is_the_reference(monkeypatch):
    ours, truth = (f(*tensors(), block=2) for f in (load("torch:cpu").ops.streamed_softmin, streamed_softmin))
    assert torch.equal(ours, truth)
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    monkeypatch.setattr(_torch_streaming, "_triton", lambda: True)
    assert _torch_streaming._for_the_kernel(*tensors())
    assert not _torch_streaming._for_the_kernel(*tensors(requires_grad=True))
    with torch.no_grad():
        assert _torch_streaming._for_the_kernel(*tensors(requires_grad=True))
    monkeypatch.setattr(_torch_streaming, "_triton", lambda: False)
    assert not _torch_streaming._for_the_kernel(*tensors())


def test_the_solver_takes_the_twin():
    x, y, _, b, _ = tensors()
    calls = []

    def counted(*given, **options):
        calls.append(given)
        return _torch_streaming.streamed_softmin(*given, **options)

    a = torch.full((6,), 1 / 6, dtype=torch.float64)
    ours = sinkhorn_points(x, y, a, b, eps=0.5, tol=None, max_iter=3, minimum=counted)
    assert len(calls) == 6
    assert torch.equal(ours.f, sinkhorn_points(x, y, a, b, eps=0.5, tol=None, max_iter=3).f)

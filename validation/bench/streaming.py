"""Sinkhorn between points without stored costs against solvers with and without them: time and memory.

Clouds of 2048 and 8192 points on surfaces of 3-D shapes about 2 wide (those of ``bench sinkhorn``), eps
0.2, float32, to a marginal error of 1e-3; the largest for two iterations only. All are given the points.
Peers are our dense reference, the dense twin of the NumPy backend (over-relaxed products with a stored
kernel), OTT-JAX, compiled, with costs made in batches of 512 rows (its "online" geometry), and GeomLoss,
"tensorized" (its "online" needs KeOps, which compiles CUDA or C++ when it is called).

GeomLoss has no tolerance: it takes a number of steps of falling eps that ``scaling`` fixes, and is given the
least of 0.5, 0.9, 0.99 that ends below 1e-3, the last where none does. Errors are the larger L1 error of the
two marginals, recomputed in float64 from the potentials that were returned. Memory is what a process of its
own takes at most beyond what it has before; for OTT it has what compiling takes. OTT 0.6's online geometry
calls what JAX 0.8 has and 0.10 has not: there it is left out.
"""

import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from refwfm.backends._numpy_sinkhorn import sinkhorn as twin
from refwfm.transport.point_problem import check_point_problem
from refwfm.transport.sinkhorn import sinkhorn, sq_euclidean_cost
from refwfm.transport.streaming import sinkhorn_points, streamed_marginal_errors
from refwfm.validation.bench.measure import Row, compare
from refwfm.validation.bench.sinkhorn import table, torus

EPS, TOLERANCE, ROWS = 0.2, 1e-3, 512
CASES = {2048: None, 8192: 2}
"""Points, and the iterations where it is not iterated to the tolerance."""
SCALINGS = (0.5, 0.9, 0.99)

Solve = Callable[[], tuple[np.ndarray, np.ndarray]]


def rows(repeats: int = 5) -> list[Row]:
    """Time ours and a peer's in turns, then the memory of each; raise if our error is above 1e-3."""
    result = []
    for n, iterations in CASES.items():
        case = f"n = {n}" + ("" if iterations is None else f", {iterations} iterations")
        here = measured("streamed", n, iterations)
        for peer, make in peers(iterations).items():
            row = compare(
                case,
                PEERS["streamed"](n, iterations),
                make(n, iterations),
                peer,
                repeats=min(repeats, 2),
                error=lambda ours, theirs, n=n, iterations=iterations: (
                    error_of(n, *ours, required=iterations is None),
                    error_of(n, *theirs),
                ),
            )
            result.append(row._replace(ours_mb=here, peer_mb=measured(peer, n, iterations)))
    return result


def clouds(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of a torus and of a table, and the weight of each."""
    rng = np.random.default_rng(0)
    x, y = (surface(rng, n).astype(np.float32) for surface in (torus, table))
    return x, y, np.full(n, 1.0 / n, np.float32)


def error_of(n: int, f: np.ndarray, g: np.ndarray, *, required: bool = False) -> float:
    """Larger L1 error of a marginal, in float64."""
    x, y, w = (part.astype(np.float64) for part in clouds(n))
    problem = check_point_problem(x, y, w, w, eps=EPS)
    found = float(max(streamed_marginal_errors(problem, f.astype(np.float64), g.astype(np.float64))))
    if required and not found < 1.2 * TOLERANCE:  # float32's rounding of the potentials is in it
        raise RuntimeError(f"our marginal error is {found:.3g}, wanted {TOLERANCE:g}")
    return found


# Solvers, as functions without arguments that return potentials in our convention


def _stopping(iterations: int | None) -> dict[str, Any]:
    return {"eps": EPS} | (
        {"tol": TOLERANCE} if iterations is None else {"tol": None, "max_iter": iterations}
    )


def _streamed(n: int, iterations: int | None) -> Solve:
    x, y, w = clouds(n)
    return lambda: sinkhorn_points(x, y, w, w, **_stopping(iterations))[:2]


def _dense(solver: Callable[..., Any]) -> Callable[[int, int | None], Solve]:
    def make(n: int, iterations: int | None) -> Solve:
        x, y, w = clouds(n)
        return lambda: solver(sq_euclidean_cost(x, y), w, w, **_stopping(iterations))[:2]

    return make


def _ott(n: int, iterations: int | None) -> Solve:
    import jax
    from ott.geometry import pointcloud
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn as solvers

    stop = {"threshold": TOLERANCE, "max_iterations": 10_000}
    if iterations is not None:
        stop = {"threshold": -1.0, "max_iterations": iterations, "min_iterations": iterations}
    solver = solvers.Sinkhorn(**stop, inner_iterations=10 if iterations is None else iterations)
    x, y, w = map(jax.numpy.asarray, clouds(n))

    @jax.jit
    def solve(x: Any, y: Any, w: Any) -> Any:
        geometry = pointcloud.PointCloud(x, y, epsilon=EPS, batch_size=ROWS)
        out = solver(linear_problem.LinearProblem(geometry, a=w, b=w))
        return out.f, out.g

    jax.block_until_ready(solve(x, y, w))
    logs = np.float32(EPS * np.log(1.0 / n))

    def run() -> tuple[np.ndarray, np.ndarray]:
        f, g = jax.block_until_ready(solve(x, y, w))
        return np.asarray(f) - logs, np.asarray(g) - logs

    return run


def _geomloss(n: int, iterations: int | None) -> Solve:
    import torch
    from geomloss import SamplesLoss

    x, y, w = map(torch.from_numpy, clouds(n))

    def solve(scaling: float) -> tuple[np.ndarray, np.ndarray]:
        blur = (EPS / 2.0) ** 0.5  # its cost is ‖x - y‖² / 2, its eps blur²
        options = {"blur": blur, "scaling": scaling, "debias": False, "potentials": True}
        f, g = SamplesLoss("sinkhorn", p=2, backend="tensorized", **options)(w, x, w, y)
        return 2.0 * f.numpy().ravel(), 2.0 * g.numpy().ravel()

    good = next((s for s in SCALINGS if error_of(n, *solve(s)) < TOLERANCE), SCALINGS[-1])
    return lambda: solve(good)


PEERS: dict[str, Callable[[int, int | None], Solve]] = {
    "streamed": _streamed,
    "our dense reference": _dense(sinkhorn),
    "our dense twin for NumPy": _dense(twin),
    "OTT-JAX, online": _ott,
    "GeomLoss, tensorized": _geomloss,
}


def peers(iterations: int | None) -> dict[str, Callable[[int, int | None], Solve]]:
    """Those that can be asked for so many iterations, on what is installed."""
    left_out = {"streamed"} | (set() if iterations is None else {"GeomLoss, tensorized"})
    if not _ott_works():
        left_out.add("OTT-JAX, online")
    return {name: make for name, make in PEERS.items() if name not in left_out}


def _ott_works() -> bool:
    """Whether JAX still has the internal function that OTT's online geometry calls."""
    from jax.interpreters import batching

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hasattr(batching, "is_vmappable")


# Memory


def measured(solver: str, n: int, iterations: int | None) -> float:
    """Megabytes that a solver takes at most, in a new process, beyond those before it."""
    script = f"from {__name__} import _peak; print(_peak({solver!r}, {n}, {iterations}))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def _peak(solver: str, n: int, iterations: int | None) -> float:
    if solver.startswith("OTT"):
        import ott.solvers.linear.sinkhorn  # noqa: F401
    if solver.startswith("GeomLoss"):
        import geomloss  # noqa: F401
    clouds(n)
    before = _resident()
    PEERS[solver](n, iterations)()
    return _resident() - before


def _resident() -> float:
    """Most memory so far of this program: ``getrusage`` begins with that of the one it came from."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return float(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS

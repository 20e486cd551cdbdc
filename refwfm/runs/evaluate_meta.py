"""How much a model of Meta OT saves: Sinkhorn's errors, iteration by iteration, from three starts."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from refwfm._array import Array
from refwfm.measures import PointCloud
from refwfm.meta.cloud_potentials import cloud_potential
from refwfm.runs.models import Backend, Model
from refwfm.training import meta_clouds, meta_ot
from refwfm.training.algorithm import trained
from refwfm.training.config import MetaCloudsConfig, MetaOTConfig
from refwfm.training.meta_ot import MetaOTSetting
from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.grids import Cost, Grid, Softmin
from refwfm.transport.sinkhorn import sq_euclidean_cost
from refwfm.transport.starts import iterations_to, usable_start

THRESHOLDS = (1e-2, 1e-3, 1e-4)
"""Marginal errors, ``‖P 1 - a‖₁ + ‖Pᵀ 1 - b‖₁``."""

STARTS = {"zeros": "zeros", "gaussian": "Gaussian", "meta": "Meta OT"}
"""Starts, and what they are called."""


class Pairs(Protocol):
    """What evaluation needs of a family of pairs (see ``refwfm.datasets``)."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def draw(self) -> Callable[..., tuple[np.ndarray, np.ndarray]]: ...  # noqa: D102
    @property
    def sizes(self) -> tuple[int, int]: ...  # noqa: D102


class Saved(NamedTuple):
    """What one start gives on some pairs.

    Attributes
    ----------
    errors : array (K + 1, size)
        Of the start, and after each iteration.
    iterations : dict
        Threshold -> iterations until the error is below it, integers (size,); -1 where ``max_iter`` were not
        enough.
    used : float
        Share of the pairs for which the start is worth as much as zeros; the others start from zeros.
    max_iter : int
    """

    errors: np.ndarray
    iterations: dict[float, np.ndarray]
    used: float
    max_iter: int


class Comparison(NamedTuple):
    """The starts by name, and milliseconds for predicting one pair (in a batch of all)."""

    starts: dict[str, Saved]
    predict_ms: float


class Problems(NamedTuple):
    """Problems of transport on the host, float64: cost, weights, eps, potentials to start from by name."""

    cost: Cost
    a: np.ndarray
    b: np.ndarray
    eps: float
    starts: dict[str, np.ndarray]


def compare_starts(
    model: Model[Any],
    family: Any,
    backend: Backend,
    /,
    *,
    size: int = 20,
    seed: int = 0,
    max_iter: int = 20_000,
    progress: Callable[[], None] | None = None,
) -> Comparison:
    """Iterations that zeros, the Gaussian potential and the model's need on held-out pairs.

    Errors are those of float64 on the host, looked at after every iteration, whatever the run's dtype. Each
    start is judged before it is used (``usable_start``), which costs as much as an iteration, not counted.

    Parameters
    ----------
    family : PairFamily, or CloudFamily where the model is one of clouds
        Pairs on the atoms that the model was trained on; clouds of the same dimension.
    size : int
        Number of pairs, each another one; of a family that has fewer, all.
    max_iter : int
        Where a start has not brought all pairs below the last threshold by then, no more is done.
    progress : callable, optional
        Called when a start is done.
    """
    of = clouds_to_solve if isinstance(model.config, MetaCloudsConfig) else histograms_to_solve
    problems, seconds = of(model, family, backend, size=size, seed=seed)
    starts = {}
    for name in (each for each in STARTS if each in problems.starts):
        starts[name] = saved(problems.starts[name], problems, backend, max_iter=max_iter)
        if progress is not None:
            progress()
    return Comparison(starts, 1e3 * seconds / max(1, len(problems.a)))


def histograms_to_solve(
    model: Model[MetaOTConfig], family: Pairs, backend: Backend, /, *, size: int, seed: int
) -> tuple[Problems, float]:
    """Held-out pairs of histograms with their starts, and the seconds that predicting took."""
    if tuple(family.sizes) != tuple(model.setting.sizes):
        raise ValueError(
            f"the model is for histograms with {' and '.join(map(str, model.setting.sizes))} atoms; those of "
            f"{family.name} have {' and '.join(map(str, family.sizes))}"
        )
    a, b = family.draw(size, seed=seed, step=0, stream="evaluation")
    predicted, seconds = predict(model, a, b, backend)
    setting = on_host(model.setting, backend)
    starts: dict[str, np.ndarray] = {"zeros": np.zeros_like(a), "meta": predicted}
    if meta_ot.atoms(setting) is not None:
        starts["gaussian"] = meta_ot.gaussian(setting, a, b)
    return Problems(setting.cost, a, b, setting.eps, starts), seconds


@np.errstate(all="ignore")  # what is not finite is not used
def clouds_to_solve(
    model: Model[MetaCloudsConfig], family: Any, backend: Backend, /, *, size: int, seed: int
) -> tuple[Problems, float]:
    """Pairs of clouds with their starts, in the model's units, and the seconds that predicting took."""
    setting = model.setting
    if family.dimension != len(setting.shift):
        raise ValueError(
            f"the model is for clouds in {len(setting.shift)}-D; those of {family.name} are in "
            f"{family.dimension}-D"
        )
    if len(family) < 2:
        raise ValueError(f"{family.name}: pairs of clouds need at least two clouds; got {len(family)}")
    host = setting._replace(like=np.zeros(0))
    x, y = meta_clouds.draw(model.config, host, family, size, seed=seed, step=0, stream="evaluation")
    eps = setting.eps / setting.unit**2
    pair = (PointCloud(*map(backend.asarray, cloud)) for cloud in (x, y))
    begun = time.perf_counter()
    predicted = backend.to_numpy(cloud_potential(trained(model.state), *pair, eps=eps)[0])
    seconds = time.perf_counter() - begun
    starts = {
        "zeros": np.zeros_like(x.weights),
        "gaussian": gaussian_potential(x, y),
        "meta": predicted.astype(np.float64),
    }
    return Problems(sq_euclidean_cost(x.points, y.points), x.weights, y.weights, eps, starts), seconds


def predict(
    model: Model[MetaOTConfig], a: np.ndarray, b: np.ndarray, backend: Backend, /
) -> tuple[np.ndarray, float]:
    """Potentials (size, n) that a model predicts for histograms, in its units, float64; seconds it took."""
    arrays = backend.asarray(a), backend.asarray(b)
    params = trained(model.state)
    start = time.perf_counter()
    with np.errstate(all="ignore"):  # what is not finite is not used
        found = backend.to_numpy(meta_ot.predict_in_model_units(model.config, model.setting, params, *arrays))
    return found.astype(np.float64), time.perf_counter() - start


def on_host(setting: MetaOTSetting, backend: Backend, /) -> MetaOTSetting:
    """A setting in NumPy's float64."""

    def host(values: Array) -> np.ndarray:
        return backend.to_numpy(values).astype(np.float64)

    cost: Any = setting.cost
    return setting._replace(
        cost=Grid(tuple(map(host, cost.axes))) if isinstance(cost, Grid) else host(cost),
        points=None if setting.points is None else (host(setting.points[0]), host(setting.points[1])),
    )


def softmin_of(cost: Cost, backend: Backend, /) -> Softmin | None:
    """The backend's twin of the soft minimum for this kind of cost, if it has one."""
    return backend.ops.grid_softmin if isinstance(cost, Grid) else None


def saved(f: np.ndarray, problems: Problems, backend: Backend, /, *, max_iter: int) -> Saved:
    """Errors from a start f (size, n) until all pairs are below the last threshold."""
    given = (problems.cost, problems.a, problems.b)
    options: dict[str, Any] = {"eps": problems.eps, "validate": False}
    options["minimum"] = softmin_of(problems.cost, backend)
    f, used = usable_start(f, *given, **options)
    curve, n_iter = backend.ops.error_curve, min(64, max_iter)
    errors = curve(*given, f_init=f, n_iter=n_iter, **options)
    while n_iter < max_iter and not np.all(np.min(errors, axis=0) <= min(THRESHOLDS)):
        n_iter = min(4 * n_iter, max_iter)
        errors = curve(*given, f_init=f, n_iter=n_iter, **options)
    iterations = {threshold: iterations_to(errors, threshold) for threshold in THRESHOLDS}
    return Saved(errors, iterations, float(np.mean(used)), max_iter)

"""Oracles for networks and optimiser: the same formulas in plain NumPy, one Gaussian at a time.

They also take complex parameters, for derivatives by a complex step.
"""

from typing import Any

import numpy as np

from refwfm.bures import Tangent
from refwfm.measures import Gaussian
from refwfm.networks import init_bures_mlp
from refwfm.training import optim
from refwfm.validation.draws import Draw

WIDTH, DEPTH, FREQUENCIES, LABEL_DIM = 5, 2, 2, 3


def random_parameters(draw: Draw, n_labels: int = 0, n_state: int = 0) -> dict[str, Any]:
    """Parameters of the default network with nothing at zero, as a run has them after some steps."""
    empty = init_bures_mlp(
        draw.rng,
        draw.d,
        like=np.zeros(0),
        width=WIDTH,
        depth=DEPTH,
        n_frequencies=FREQUENCIES,
        n_state=n_state,
        n_labels=n_labels,
        label_dim=LABEL_DIM,
    )
    return optim.tree_map(lambda p: draw.rounded(p + 0.3 * draw.rng.standard_normal(p.shape)), empty)


def random_scaling(draw: Draw, n_state: int = 0) -> dict[str, Any]:
    """Constants of the input and output layers, and frequencies of features of the state if any."""
    d = draw.d
    n = d * (d + 1) // 2
    positive = {"input_scale": d + n, "mean_scale": d, "matrix_scale": n}
    scaling = {name: draw.rounded(draw.rng.uniform(0.5, 1.5, size)) for name, size in positive.items()}
    scaling["input_shift"] = draw.normal(d + n)
    if n_state:
        scaling["frequencies"] = draw.rounded(0.2 * draw.rng.standard_normal((d + n, n_state)))
    return scaling


def drifted(params: Any, way: Any, h: complex) -> Any:
    """Parameters moved along a direction."""
    return optim.tree_map(lambda p, w: p + h * w, params, way)


def tangent(
    params: dict[str, Any],
    scaling: dict[str, Any],
    mu: Gaussian,
    t: np.ndarray,
    labels: np.ndarray | None = None,
) -> Tangent:
    """Appendix E.1 for one Gaussian after the other."""
    labels = [None] * len(t) if labels is None else labels
    rows = [_tangent(params, scaling, *row) for row in zip(mu.mean, mu.cov, t, labels, strict=True)]
    return Tangent(*map(np.stack, zip(*rows, strict=True)))


def _tangent(
    params: Any, scaling: Any, mean: Any, cov: Any, t: Any, label: Any
) -> tuple[np.ndarray, np.ndarray]:
    d = len(mean)
    state = np.concatenate([mean, cov[np.tril_indices(d)]])
    k = np.pi * np.arange(1, FREQUENCIES + 1)
    standard = (state - scaling["input_shift"]) / scaling["input_scale"]
    x = np.concatenate([standard, np.cos(k * t), np.sin(k * t)])
    if "frequencies" in scaling:
        x = np.concatenate([x, space_of(scaling["frequencies"], standard)])
    seen = {
        name: x if label is None else np.concatenate([x, part["labels"]["table"][label]])
        for name, part in params.items()
    }
    entries = perceptron(params["matrix"]["mlp"], seen["matrix"]) * scaling["matrix_scale"]
    matrix = np.zeros((d, d), dtype=entries.dtype)
    matrix[np.tril_indices(d)] = entries
    matrix = matrix + np.tril(matrix, -1).T
    return perceptron(params["mean"]["mlp"], seen["mean"]) * scaling["mean_scale"], matrix


def space_of(frequencies: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Features of one point."""
    angles = [2.0 * np.pi * sum(a * b for a, b in zip(x, column, strict=True)) for column in frequencies.T]
    return np.array([np.cos(a) for a in angles] + [np.sin(a) for a in angles])


def perceptron(net: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """``h = in(x)``; ``h + relu(dense(norm(h)))`` for each block; ``out(norm(h))``; x a single vector."""
    h = affine(net["in"], x)
    for name in sorted(net["blocks"], key=int):
        layer = net["blocks"][name]
        h = h + positive(affine(layer["dense"], normalised(layer["norm"], h)))
    return affine(net["out"], normalised(net["norm"], h))


def affine(layer: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """``x W + b``."""
    return x @ layer["weight"] + layer["bias"]


def normalised(layer: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """Layer normalisation of a single vector."""
    centred = x - x.mean()
    return layer["scale"] * centred / np.sqrt(np.mean(centred**2) + 1e-5) + layer["shift"]


def positive(x: np.ndarray) -> np.ndarray:
    """Rectifier; of complex numbers by their real part."""
    return np.where(x.real > 0, x, 0.0)


def clipped(grads: dict[str, np.ndarray], bound: float) -> tuple[float, dict[str, np.ndarray]]:
    """Global norm, and the gradients shortened to the bound."""
    norm = float(np.linalg.norm(np.concatenate([g.ravel() for g in grads.values()])))
    return norm, {path: g * min(1.0, bound / norm) for path, g in grads.items()}


def kingma_ba(
    p: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, step: int, rate: float
) -> np.ndarray:
    """Algorithm 1 of Kingma and Ba, line by line."""
    m = 0.9 * m + (1 - 0.9) * g
    v = 0.999 * v + (1 - 0.999) * g**2
    m_hat = m / (1 - 0.9**step)
    v_hat = v / (1 - 0.999**step)
    return p - rate * m_hat / (np.sqrt(v_hat) + 1e-8)

"""Oracles for convex potentials in plain NumPy, one point at a time, also of complex parameters."""

from typing import Any

import numpy as np

from refwfm.meta.icnn import init_icnn
from refwfm.meta.picnn import init_picnn
from refwfm.training import optim
from refwfm.validation.draws import Draw
from refwfm.validation.plain_network import affine, drifted
from refwfm.validation.textbook import complex_step

WIDTH, N, M, PENALTY = 5, 4, 3, 0.1
"""Of networks; numbers of points; weight of the mean squared parameter, large enough to be seen."""


def largest(values: Any) -> float:
    """Largest entry, or 1."""
    return max(1.0, float(np.max(np.abs(values))))


def adjoint(grads: Any, params: Any, value: Any, draw: Draw) -> float:
    """``⟨gradient, ξ⟩`` less the derivative of a loss along random ξ, relative to the gradient."""
    flat = optim.flatten(grads)
    norm = np.sqrt(sum(np.sum(g**2) for g in flat.values())) + 1e-6
    worst = 0.0
    for _ in range(3):
        way = optim.tree_map(lambda p: draw.rng.standard_normal(p.shape), params)
        slope = complex_step(lambda h, way=way: value(drifted(params, way, h)))  # type: ignore[misc]
        found = sum(np.sum(flat[path] * w) for path, w in optim.flatten(way).items())
        worst = np.maximum(worst, abs(found - slope) / norm)  # NaN, of an infinite gradient, stays
    return float(worst)


def random_icnn(draw: Draw, *batch: int) -> dict[str, Any]:
    """Parameters of networks with nothing at zero."""
    params = init_icnn(draw.rng, draw.d, like=np.zeros(0), width=WIDTH)
    return optim.tree_map(
        lambda p: draw.rounded(p + 0.5 * draw.rng.standard_normal((*batch, *p.shape))), params
    )


def random_pair(draw: Draw, *batch: int) -> dict[str, Any]:
    """Parameters of a potential and of its conjugate."""
    return {name: random_icnn(draw, *batch) for name in ("potential", "conjugate")}


def leaky(a: np.ndarray, slope: float = 0.01) -> np.ndarray:
    """Leaky rectifier; of complex numbers by their real part."""
    return np.where(a.real > 0, a, slope * a)


def potential(params: dict[str, Any], x: np.ndarray) -> Any:
    """``wᵀ σ(U x + c) + vᵀ x + d₀ + ‖L x‖²`` at one point."""
    w = np.log(1.0 + np.exp(params["omega"]))
    ridges = w @ leaky(params["hidden"] @ x + params["bias"])
    Lx = params["quadratic"] @ x
    return ridges + params["linear"] @ x + params["constant"] + Lx @ Lx


def gradient(params: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """``Σ w s u + v + 2 LᵀL x`` at one point, a ridge after the other."""
    w, L = np.log(1.0 + np.exp(params["omega"])), params["quadratic"]
    total = params["linear"] + 2.0 * L.T @ (L @ x)
    for weight, u, c in zip(w, params["hidden"], params["bias"], strict=True):
        slope = 1.0 if (u @ x + c).real > 0 else 0.01
        total = total + weight * slope * u
    return total


def member(params: Any, i: int) -> Any:
    """One network of a batch."""
    return optim.tree_map(lambda p: p[i], params)


def over(function: Any, params: Any, x: np.ndarray) -> np.ndarray:
    """Values of a function of one network and one point, for networks (B) and points (B, n, d)."""
    return np.stack(
        [np.stack([function(member(params, i), row) for row in rows]) for i, rows in enumerate(x)]
    )


def sq_mean(rows: list[np.ndarray]) -> Any:
    """Mean square over rows and coordinates; analytic, so that it has a complex step."""
    values = np.stack(rows)
    return np.sum(values * values) / values.size


def size(params: dict[str, Any]) -> Any:
    """Mean squared parameter."""
    flat = np.concatenate([np.reshape(p, -1) for p in params.values()])
    return flat @ flat / flat.size


def w2gn_loss(
    pair: Any,
    x: np.ndarray,
    y: np.ndarray,
    *,
    cycle: float,
    penalty: float,
    frozen: Any = None,
    cycles: int = 2,
) -> Any:
    """Loss of one pair on points (n, d) and (m, d); ``frozen`` is the pair whose x̂ the correlation sees."""
    psi, conj = pair["potential"], pair["conjugate"]
    seen = [gradient((frozen or pair)["conjugate"], row) for row in y]
    total = sum(potential(psi, row) for row in x) / len(x)
    total = total + sum(at @ row - potential(psi, at) for at, row in zip(seen, y, strict=True)) / len(y)
    there = sq_mean([gradient(psi, gradient(conj, row)) - row for row in y])
    back = sq_mean([gradient(conj, gradient(psi, row)) - row for row in x])
    return total + cycle * (there + (cycles == 2) * back) + penalty * (size(psi) + size(conj))


def identity_loss(pair: Any, x: np.ndarray, *, penalty: float) -> Any:
    """Loss of one pair at points (n, d)."""
    return sum(
        sq_mean([gradient(params, row) - row for row in x]) + penalty * size(params)
        for params in pair.values()
    )


# Partially input-convex networks


def random_picnn(draw: Draw) -> dict[str, Any]:
    """Parameters with nothing at zero; two hidden layers, a condition of two numbers."""
    params = init_picnn(draw.rng, draw.d, 2, like=np.zeros(0), width=4, depth=2)
    return optim.tree_map(lambda p: draw.rounded(p + 0.3 * draw.rng.standard_normal(p.shape)), params)


def picnn(params: Any, x: np.ndarray, c: np.ndarray) -> Any:
    """``g(x, c)`` at one point under one condition, with ``‖x‖² / 2``."""
    u, z = c, None
    names = sorted(params["layers"], key=int)
    for name in names:
        layer = params["layers"][name]
        a = (x * affine(layer["xu"], u)) @ layer["wx"] + affine(layer["wu"], u)
        if z is not None:
            a = a + (z * np.log(1.0 + np.exp(affine(layer["zu"], u)))) @ layer["wz"]
        z = a if name == names[-1] else leaky(a, 0.2) ** 2 if name == "0" else leaky(a, 0.2)
        if name in params["condition"]:
            u = leaky(affine(params["condition"][name], u), 0.2)
    return z[0] + x @ x / 2.0


def picnn_map(params: Any, x: np.ndarray, c: np.ndarray) -> np.ndarray:
    """``∇ₓ g(x, c)``, by the chain rule, coordinate after coordinate, of real or complex parameters."""
    return np.stack([_along(params, x, c, e) for e in np.eye(len(x))])


def _along(params: Any, x: np.ndarray, c: np.ndarray, e: np.ndarray) -> Any:
    u, z, dz = c, None, None
    names = sorted(params["layers"], key=int)
    for name in names:
        layer = params["layers"][name]
        p = affine(layer["xu"], u)
        a, da = (x * p) @ layer["wx"] + affine(layer["wu"], u), (e * p) @ layer["wx"]
        if z is not None:
            q = np.log(1.0 + np.exp(affine(layer["zu"], u)))
            a, da = a + (z * q) @ layer["wz"], da + (dz * q) @ layer["wz"]
        s = np.ones(a.shape) if name == names[-1] else np.where(a.real > 0, 1.0, 0.2)
        z, dz = s * a, s * da
        if name == "0":
            z, dz = z * z, 2.0 * z * dz
        if name in params["condition"]:
            u = leaky(affine(params["condition"][name], u), 0.2)
    return dz[0] + x @ e

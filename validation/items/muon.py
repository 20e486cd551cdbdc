"""Audited construction of ours: Muon, an optimiser of matrices."""

import numpy as np

from refwfm.training import optim
from refwfm.training.muon import muon, orthogonalize
from refwfm.validation import plain_network
from refwfm.validation.check import Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.textbook import relative

RATE = 0.01


def items() -> list[Item]:
    """Return the item of this section."""
    return [orthogonal_steps()]


def orthogonal_steps() -> Item:
    """The iteration, and a step with it."""
    return Item(
        id="WFM-MUON",
        paper="WFM",
        place="ours, not the paper's; Jordan et al. 2024",
        title="matrices that move along orthogonal ones",
        latex=r"P\leftarrow P-4\eta\sqrt{\max(1,m/n)}\,U\,p^{\circ5}(\Sigma/\|\Sigma\|)\,V^\top,\quad "
        r"\hat M=U\Sigma V^\top,\quad p(s)=3.4445s-4.775s^3+2.0315s^5",
        statement="Matrices between layers move at the same rate in all directions; the paper's by Adam.",
        functions=(muon, orthogonalize),
        checks=(
            Check(
                "singular values by LAPACK, and the polynomial of each",
                singular_values_are_moved,
                orthogonalize,
                {
                    "the matrix itself": lambda matrix: matrix,
                    "of length one": _of_length_one,
                    "once more": lambda matrix: orthogonalize(orthogonalize(matrix)),
                    "of the transpose": lambda matrix: -orthogonalize(matrix),
                },
                roundings(3000, "small singular values are stretched 500 times"),
                dimensions=(1, 2, 3, 6),
            ),
            Check(
                "the orthogonal factor of matrices that are made of one, which it is near to",
                near_the_polar_factor,
                orthogonalize,
                {
                    "of length one": _of_length_one,
                    "twice as long": lambda matrix: 2.0 * orthogonalize(matrix),
                    "the other way": lambda matrix: -orthogonalize(matrix),
                },
                Tolerance(0.32, 0.32, "five steps leave singular values between 0.68 and 1.14"),
                dimensions=(1, 2, 3, 6),
            ),
            Check(
                "a third step by hand",
                step_is_by_hand,
                _step,
                {
                    "Adam for all": lambda *given: optim.adam(*given, learning_rate=RATE)[0],
                    "uphill": lambda *given: muon(*given, learning_rate=-RATE)[0],
                    "along the last gradient": lambda params, grads, state: _step(
                        params, grads, state._replace(first=optim.tree_map(np.zeros_like, state.first))
                    ),
                    "matrices of the first layer, too": lambda params, grads, state: {
                        "in": _as_hidden(params, grads, state),
                        "blocks": _step(params, grads, state)["blocks"],
                    },
                    "one rate for all shapes": _one_rate,
                },
                roundings(3000, "small singular values are stretched 500 times"),
                dimensions=(2, 3, 6),
            ),
        ),
    )


def _step(params, grads, state):
    return muon(params, grads, state, learning_rate=RATE)[0]


def _as_hidden(params, grads, state):
    """The first layer's step, taken as that of one inside."""
    parts = ({"blocks": {"0": tree["in"]}} for tree in (params, grads, state.first, state.second))
    params, grads, first, second = parts
    return _step(params, grads, optim.AdamState(first, second, state.steps))["blocks"]["0"]


def _one_rate(params, grads, state):
    moved = _step(params, grads, state)
    p, q = params["blocks"]["0"], moved["blocks"]["0"]
    step = (q["weight"] - p["weight"]) / np.sqrt(max(1.0, p["weight"].shape[1] / p["weight"].shape[0]))
    return {**moved, "blocks": {"0": {**q, "weight": p["weight"] + step}}}


def _of_length_one(matrix):
    return matrix / np.linalg.norm(matrix, axis=(-2, -1), keepdims=True)


def _by_svd(matrix):
    """``U p(p(p(p(p(Σ / ‖Σ‖))))) Vᵀ``."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    polynomial = np.polynomial.Polynomial([0.0, 3.4445, 0.0, -4.7750, 0.0, 2.0315])
    s = s / np.sqrt(np.sum(s**2, axis=-1, keepdims=True))
    for _ in range(5):
        s = polynomial(s)
    return u @ (s[..., None] * vt)


def _matrices(draw):
    return draw.normal(draw.size, draw.d, 3) * 10.0 ** draw.rng.integers(-3, 4, (draw.size, 1, 1))


def singular_values_are_moved(orthogonal, draw):
    """Largest difference of an entry."""
    matrices = draw.rounded(_matrices(draw))
    return float(np.max(np.abs(draw.call(orthogonal, matrices) - _by_svd(matrices))))


def near_the_polar_factor(orthogonal, draw):
    """Largest singular value of the difference, for matrices of condition number 10."""
    u, v = draw.rotations(draw.size), draw.rotations(draw.size)
    matrices = draw.rounded((u * draw.spectrum(10.0, draw.size, 1, draw.d)) @ v.mT)
    return float(np.max(np.linalg.norm(draw.call(orthogonal, matrices) - u @ v.mT, ord=2, axis=(-2, -1))))


def step_is_by_hand(step, draw):
    """New parameters, relative to a step of Adam's size."""
    shapes = {"in": (2, draw.d), "weight": (draw.d, 4), "bias": (4,)}
    p, g, m = ({name: draw.normal(*shape) for name, shape in shapes.items()} for _ in range(3))
    p = {name: draw.rounded(0.01 * each) for name, each in p.items()}
    v = {name: draw.rounded(draw.rng.uniform(0.5, 2.0, shape)) for name, shape in shapes.items()}
    truth = {name: plain_network.kingma_ba(p[name], g[name], m[name], v[name], 3, RATE) for name in shapes}
    mean = 0.9 * m["weight"] + 0.1 * g["weight"]
    truth["weight"] = p["weight"] - 4 * RATE * np.sqrt(max(1.0, 4 / draw.d)) * _by_svd(mean)
    params, grads, first, second = map(_tree, (p, g, m, v))
    found = draw.call(step, params, grads, optim.AdamState(first, second, 2))
    return worst_of(
        relative(found["in"]["weight"], truth["in"], RATE),
        *(relative(found["blocks"]["0"][name], truth[name], RATE) for name in ("weight", "bias")),
    )


def _tree(parts):
    return {
        "in": {"weight": parts["in"]},
        "blocks": {"0": {"weight": parts["weight"], "bias": parts["bias"]}},
    }

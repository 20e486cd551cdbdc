"""Oracles for flows of populations in plain NumPy: one population, one particle, one feature at a time.

They also take complex parameters, for derivatives by a complex step.
"""

from typing import Any

import numpy as np

from refwfm.populations.embedding import init_population_embedding
from refwfm.populations.velocity import init_velocity
from refwfm.training import optim
from refwfm.validation.check import Item
from refwfm.validation.draws import Draw
from refwfm.validation.plain_network import affine, positive, space_of

N, M, K, WIDTH, MARKS, HEADS = 6, 7, 2, 4, 2, 2
TIME, SPACE, CONDITION = 6, 3, 2
OPTIONS = {"n_time": TIME, "heads": HEADS}
SCALE, ALPHA = 1.0507009873554804934, 1.6732632423543772848
"""Of Klambauer et al., to the digits that they print."""


def neighbours(x: np.ndarray, k: int, live: Any = None) -> list[list[int]]:
    """For each particle the k nearest live other ones, by distance and then by number."""
    n = len(x)
    live = np.ones(n, dtype=bool) if live is None else live
    found = []
    for i in range(n):
        others = [j for j in range(n) if j != i and live[j] and live[i]]
        found.append(sorted(others, key=lambda j, i=i: (float(np.sum((x[i] - x[j]) ** 2)), j))[:k])
    return found


def graphs(x: np.ndarray) -> list[list[list[int]]]:
    """Of populations (B, n, d), K neighbours for each particle."""
    return [neighbours(points, K) for points in x]


def convolution(graph: list[list[int]]) -> np.ndarray:
    """``D̂^(-1/2) (A + I) D̂^(-1/2)``, the degrees those of what a particle hears, all the same."""
    with_loops = np.eye(len(graph))
    for i, others in enumerate(graph):
        for j in others:
            with_loops[i, j] += 1.0
    degrees = np.sum(with_loops, axis=1)
    root = np.diag(1.0 / np.sqrt(np.full(len(graph), degrees.max())))
    return root @ with_loops @ root


def encode(params: Any, x: np.ndarray, graph: list[list[int]], rectified: Any = None) -> np.ndarray:
    """Graph convolutions of one population; x (n, d + q) holds coordinates and marks."""
    names = sorted(params, key=int)
    rectified = [name != names[-1] for name in names] if rectified is None else rectified
    z = np.asarray(x)
    for name, is_rectified in zip(names, rectified, strict=True):
        z = convolution(graph) @ z
        z = np.stack([affine(params[name], row) for row in z])
        z = np.stack([positive(row) for row in z]) if is_rectified else z
    return z


def summary(z: np.ndarray, pooling: str = "mean") -> np.ndarray:
    """Of one population of particles (n, width)."""
    mean = sum(z) / len(z)
    if pooling == "mean":
        return mean
    if pooling == "moments":
        return np.concatenate([mean, sum(row**2 for row in z) / len(z)])
    return np.concatenate([mean, [column[np.argmax(column.real)] for column in z.T]])


def unit(z: np.ndarray) -> np.ndarray:
    """A vector divided by its norm; the root also of complex numbers."""
    square = np.sum(z * z)
    return z / np.sqrt(square) if square != 0 else z


def selu(z: Any) -> np.ndarray:
    """Number by number; of complex ones by their real part."""
    z = np.asarray(z)
    return np.stack([SCALE * a if a.real > 0 else SCALE * ALPHA * (np.exp(a) - 1.0) for a in z])


def time_of(t: float, n: int = TIME) -> np.ndarray:
    """Features of one time."""
    rates = [10000.0 ** (-i / (n // 2 - 1)) for i in range(n // 2)]
    return np.array([np.sin(t * rate) for rate in rates] + [np.cos(t * rate) for rate in rates])


def read(params: Any, place: np.ndarray, x: np.ndarray, z: np.ndarray, heads: int = HEADS) -> np.ndarray:
    """What one moving particle reads of a population's particles x (m, d) with encodings z (m, e)."""
    told = [np.concatenate([code, point, [np.sum(point**2)]]) for code, point in zip(z, x, strict=True)]
    query = affine(params["query"], selu(affine(params["place"], place)))
    keys, values = (np.stack([affine(params[name], row) for row in told]) for name in ("key", "value"))
    width = len(query) // heads
    parts = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        scores = np.array([np.sum(query[part] * key[part]) for key in keys]) / np.sqrt(width)
        shares = np.exp(scores - np.max(scores.real))
        parts.append(sum(s * v[part] for s, v in zip(shares, values, strict=True)) / np.sum(shares))
    return affine(params["out"], np.concatenate(parts))


def velocity(
    params: Any, x: np.ndarray, t: float, h: Any = (), c: Any = (), skip: bool = True, population: Any = None
) -> np.ndarray:
    """Of one particle at one time; ``population`` is coordinates and encodings."""
    time, space = time_of(t), space_of(params["frequencies"], x)
    inputs = [np.asarray(h), time, space, x, np.asarray(c)]
    if population is not None:
        inputs.append(read(params["readout"], np.concatenate([time, space, x]), *population))
    o = selu(affine(params["in"], np.concatenate(inputs)))
    for name in sorted(params["hidden"], key=int):
        z = affine(params["hidden"][name], o)
        o = selu(z + o if skip else z)
    return affine(params["out"], o)


def loss(params: Any, batch: Any, k: int = K, pooling: str = "mean", condition: str = "embedding") -> Any:
    """``mean_i mean_j ‖v(x_t | h_i, c_i) - (x1 - x0)‖²``, particle by particle."""
    total = 0.0
    size = len(batch.x0)
    for i in range(size):
        live = np.ones(len(batch.x0[i]), dtype=bool) if batch.mask is None else batch.mask[i]
        h, told = (), None
        if condition == "index":
            h = batch.indicator[i]
        if condition == "embedding":
            told_live = slice(None) if batch.population.mask is None else batch.population.mask[i]
            x = batch.population.x[i][told_live]
            marks = np.zeros((len(x), 0))
            if batch.population.marks is not None:
                marks = batch.population.marks[i][told_live]
            z = encode(params["embedding"], np.concatenate([x, marks], axis=1), neighbours(x, k))
            h, told = unit(summary(z, pooling)), (x, z)
        told = told if "readout" in params["velocity"] else None
        here = 0.0
        for j in np.flatnonzero(live):
            t, a, b = batch.t[i, j], batch.x0[i, j], batch.x1[i, j]
            c = () if batch.condition is None else batch.condition[i]
            error = velocity(params["velocity"], a + t * (b - a), t, h, c, population=told) - (b - a)
            here = here + np.sum(error * error)
        total = total + here / live.sum()
    return total / size


def filled(draw: Draw, params: Any, size: float = 0.4) -> Any:
    """Parameters with nothing at zero, as after some training."""
    return optim.tree_map(lambda p: draw.rounded(p + size * draw.rng.standard_normal(p.shape)), params)


def random_embedding(draw: Draw, marks: int = MARKS) -> Any:
    """Of three layers."""
    like = np.zeros(0)
    return filled(
        draw, init_population_embedding(draw.rng, draw.d, like=like, width=WIDTH, depth=3, marks=marks)
    )


def random_velocity(draw: Draw, n_embedding: int = WIDTH, *, skip: bool = True, attention: int = 0) -> Any:
    """Of three layers and the first, or of three."""
    params = init_velocity(
        draw.rng,
        draw.d,
        like=np.zeros(0),
        n_embedding=n_embedding,
        n_condition=CONDITION,
        width=5,
        depth=3,
        skip=skip,
        n_time=TIME,
        n_space=SPACE,
        space_scale=0.1,
        attention=attention,
        heads=HEADS,
        n_particle=WIDTH,
    )
    frequencies = draw.rounded(params["frequencies"])
    return {**filled(draw, params, 0.3), "frequencies": frequencies}


def particles(draw: Draw, n: int = N) -> np.ndarray:
    """Populations (B, n, d) without ties."""
    return draw.normal(draw.size, n, draw.d)


# The audit


def population_item(
    number: int, place: str, title: str, latex: str, statement: str, functions: Any, checks: Any
) -> Item:
    """One formula of Meta Flow Matching."""
    return Item(f"META-FM-{number}", "Meta FM", place, title, latex, statement, functions, checks)


def negative(grads: Any) -> Any:
    """The gradient with the wrong sign."""
    return optim.tree_map(lambda g: -g, grads)


def without(name: str, grads: Any) -> Any:
    """The gradient of one layer forgotten."""
    return {**grads, name: optim.tree_map(lambda g: 0.0 * g, grads[name])}

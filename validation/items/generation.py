"""Audited generation (Algorithm 2), and the conditional flow that it carries to its target."""

import numpy as np

from refwfm import bures
from refwfm.bures import Tangent
from refwfm.conditional import conditional_velocity
from refwfm.generation import exponential_step, generate, time_steps
from refwfm.measures import Gaussian
from refwfm.sources.gaussians import GaussianWishart
from refwfm.training import gaussians
from refwfm.training.config import GaussianConfig
from refwfm.training.gaussian_fit import GaussianSetting
from refwfm.training.randomness import random_stream
from refwfm.validation import step_checks, textbook
from refwfm.validation.check import WELL, Check, Item, Misprint, roundings, worst_of
from refwfm.validation.plain_network import random_parameters, random_scaling, tangent
from refwfm.validation.textbook import block, column, identity, relative, scaled


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [algorithm_2(), prop_3_1()]


# Algorithm 2


def algorithm_2() -> Item:
    """Generation."""
    return Item(
        id="WFM-Alg2",
        paper="WFM",
        place="Algorithm 2",
        title="generation of Gaussians",
        latex=r"m_{(k+1)h}=m_{kh}+hs_k,\quad \Sigma_{(k+1)h}=U_k\Sigma_{kh}U_k,\quad U_k=I+hS_k,\ h=1/N",
        statement="Steps of the exponential map; exact along a geodesic for every number of steps.",
        functions=(generate, exponential_step, time_steps),
        checks=(
            Check(
                "textbook geodesic, for 1, 2, 5 and 10 steps",
                products_telescope,
                generate,
                {
                    "additive steps Σ + h (S Σ + Σ S)": _loop(step=_additive),
                    "fed the left side of (9), as Algorithm 1 is printed": _fed_with_nine,
                    "velocity at the end of the step": _loop(late=1.0),
                    "one factor U": _loop(step=_one_sided),
                    "the mean without h": _loop(step=_without_h),
                },
                roundings(300, WELL),
            ),
            Check(
                "NumPy eigenvalues, random fields",
                covariances_stay_psd,
                generate,
                {"additive steps Σ + h (S Σ + Σ S)": _loop(step=_additive)},
                roundings(100, "relative to the largest eigenvalue"),
                size=8,
            ),
            Check(
                "a plain network, labels, and the textbook's exponential map; in data units",
                sample_is_by_hand,
                gaussians.sample,
                {
                    "in the units of the model": lambda config, setting, *rest, **options: gaussians.sample(
                        config, setting._replace(unit=1.0), *rest, **options
                    ),
                    "not moved back": lambda config, setting, *rest, **options: gaussians.sample(
                        config, setting._replace(shift=0.0 * setting.shift), *rest, **options
                    ),
                    "other labels": lambda *args, labels, **options: gaussians.sample(
                        *args, labels=1 - labels, **options
                    ),
                    "one step more": lambda *args, n_steps, **options: gaussians.sample(
                        *args, n_steps=n_steps + 1, **options
                    ),
                },
                roundings(1000, "three steps through five layers of width 5"),
                dimensions=(1, 2, 3),
                repeats=1,
            ),
            Check(
                "NumPy, one step",
                step_is_numpys,
                exponential_step,
                {
                    "backwards": lambda mu, v, h: exponential_step(mu, v, -h),
                    "additive step": lambda mu, v, h: (_additive(mu, v, h), exponential_step(mu, v, h)[1]),
                    "lowest eigenvalue of S": lambda mu, v, h: (
                        exponential_step(mu, v, h)[0],
                        np.linalg.eigvalsh(v.lift)[:, 0],
                    ),
                },
                roundings(300, "d up to 16"),
            ),
            step_checks.order_check(),
            step_checks.times_check(),
        ),
        misprints=(
            Misprint(
                "E17",
                r"m_{(k+1)h}\leftarrow m_k+hs_k",
                r"m_{(k+1)h}\leftarrow m_{kh}+hs_k",
                "An index: all other quantities are indexed by time.",
            ),
        ),
    )


def _loop(step=None, late=0.0):
    """Algorithm 2 with another step, or with the velocity of a later time."""

    def generated(field, source, *, n_steps, observe=None):
        h, mu = 1.0 / n_steps, source
        for k in range(n_steps):
            v = field(mu, np.full(len(mu.mean), (k + late) * h))
            mu = textbook.exp(mu, scaled(h, v)) if step is None else step(mu, v, h)
            if observe is not None:
                observe(k + 1, mu)
        return mu, None

    return generated


def _additive(mu, v, h):
    return Gaussian(mu.mean + h * v.mean, mu.cov + h * (v.lift @ mu.cov + mu.cov @ v.lift))


def _fed_with_nine(field, source, *, n_steps, observe=None):
    """Algorithm 2 on what a network learns that is regressed on ``S Σ_t + Σ_t S`` along the geodesic."""
    h, mu, right = 1.0 / n_steps, source, source
    for k in range(n_steps):
        v = field(right, np.full(len(mu.mean), k * h))
        mu = textbook.exp(mu, Tangent(h * v.mean, h * (v.lift @ right.cov + right.cov @ v.lift)))
        right = textbook.exp(right, scaled(h, v))
        if observe is not None:
            observe(k + 1, mu)
    return mu, None


def _one_sided(mu, v, h):
    return Gaussian(mu.mean + h * v.mean, (identity(mu.cov) + h * v.lift) @ mu.cov)


def _without_h(mu, v, h):
    return Gaussian(mu.mean + v.mean, textbook.exp(mu, scaled(h, v)).cov)


def products_telescope(generate, draw):
    """All points on the way of the velocity of one geodesic, against the geodesic."""
    mu, nu = draw.gaussians(), draw.gaussians()
    C = textbook.gelbrich_map(mu.cov, nu.cov) - identity(mu.cov)

    def field(point, t):
        time = draw.to_host(t)
        lift = C @ np.linalg.inv(identity(mu.cov) + block(time) * C)
        return draw.to_backend(Tangent(nu.mean - mu.mean, lift))

    scale = np.max(np.abs(mu.mean), axis=-1) + np.max(np.abs(nu.mean), axis=-1)
    worst = 0.0
    for n_steps in (1, 2, 5, 10):
        points = {}
        end, _ = draw.call(generate, field, mu, n_steps=n_steps, observe=points.__setitem__)
        points = {k: draw.to_host(point) for k, point in points.items()} | {n_steps: end}
        for k, point in points.items():
            t = np.full(draw.size, k / n_steps)
            mover = identity(C) + block(t) * C
            mean = (1.0 - column(t)) * mu.mean + column(t) * nu.mean
            cov_error = relative(point.cov, mover @ mu.cov @ mover)
            worst = worst_of(worst, relative(point.mean, mean, scale), cov_error)
    return worst


def sample_is_by_hand(sample, draw):
    """Three new Gaussians of labels, from the run's own stream of random numbers."""
    d, labels = draw.d, np.array([1, 0, 1])
    params, scaling = random_parameters(draw, 2), random_scaling(draw)
    root = draw.rounded(np.linalg.cholesky(draw.covariances(10.0, size=1)[0]))
    source = GaussianWishart(draw.normal(d), np.abs(draw.normal(d)), root, 2 * d)
    shift = draw.normal(d)

    def run(params, scaling, source, shift):
        setting = GaussianSetting(shift, 4.0, source, scaling, np.array([3, 5]))
        return sample(GaussianConfig(), setting, params, size=3, n_steps=3, seed=7, labels=labels)

    (found, lowest), told = draw.call(run, params, scaling, source, shift)
    rng = random_stream(7, "generation")
    mean = source.mean + source.std * rng.standard_normal((3, d))
    half = root @ rng.standard_normal((3, d, 2 * d))
    mu = Gaussian(mean, half @ half.mT / (2 * d))
    smallest = np.full(3, np.inf)  # eigenvalue of I + h S on the way
    for k in range(3):
        v = tangent(params, scaling, mu, np.full(3, k / 3.0), labels)
        smallest = np.minimum(smallest, 1.0 + np.linalg.eigvalsh(v.lift)[:, 0] / 3.0)
        mu = textbook.exp(mu, scaled(1.0 / 3.0, v))
    mean = shift + 4.0 * mu.mean
    return worst_of(
        relative(found.mean, mean, np.max(np.abs(mean))),
        relative(found.cov, 16.0 * mu.cov),
        relative(lowest, smallest, 1.0 + np.abs(smallest)),
        0.0 if np.array_equal(told, labels) else np.inf,
    )


def covariances_stay_psd(generate, draw):
    """How far the lowest eigenvalue lies below zero, after five steps along random symmetric matrices."""
    mu = draw.gaussians()
    fields = [scaled(4.0, draw.tangents()) for _ in range(5)]
    end, _ = draw.call(
        generate, lambda point, t: draw.to_backend(fields[round(5 * float(t[0]))]), mu, n_steps=5
    )
    values = np.linalg.eigvalsh(end.cov)
    return float(np.max(-values[:, 0] / np.max(np.abs(values), axis=1)))


def step_is_numpys(step, draw):
    """``m + h a``, ``(I + h S) Σ (I + h S)``, and the lowest eigenvalue of ``I + h S``."""
    mu, v = draw.gaussians(), draw.tangents()
    result, lowest = draw.call(step, mu, v, 0.25)
    truth, push = textbook.exp(mu, scaled(0.25, v)), identity(mu.cov) + 0.25 * v.lift
    return worst_of(
        relative(result.mean, truth.mean, 1.0 + np.max(np.abs(mu.mean), axis=-1)),
        relative(result.cov, truth.cov),
        relative(lowest, textbook.each(lambda matrix: np.linalg.eigvalsh(matrix)[0], push), 1.0),
    )


# Proposition 3.1


def prop_3_1() -> Item:
    """The conditional flow reaches its target."""
    return Item(
        id="WFM-Prop3.1",
        paper="WFM",
        place="Proposition 3.1 and Corollary B.3",
        title="the conditional flow reaches its target",
        latex=r"\mathfrak p_1(\cdot\mid\nu)=\delta_\nu,\qquad W_2(\mu_t,\nu)=(1-t)\,W_2(\mu,\nu)",
        statement="Under the conditional field every source Gaussian ends at nu, in any number of steps.",
        functions=(conditional_velocity, generate, exponential_step),
        checks=(
            Check(
                "the target itself, and the textbook distance on the way",
                flow_reaches_the_target,
                lambda mu, nu, n: _flow(mu, nu, n, 1.0),
                {
                    "field of half the speed": lambda mu, nu, n: _flow(mu, nu, n, 0.5),
                    "field with the printed factor 2 of eq. 21": lambda mu, nu, n: _flow(mu, nu, n, 2.0),
                    "field in Euclidean coordinates": _euclidean_flow,
                },
                roundings(3000, WELL + "; the textbook's distance near zero"),
            ),
        ),
        misprints=(
            Misprint(
                "E10",
                r"\mathfrak p_1(\cdot\mid\nu)=\nu",
                r"\mathfrak p_1(\cdot\mid\nu)=\delta_\nu",
                "A law over measures, not a measure on R^d: all sources end at the one measure nu.",
            ),
        ),
    )


def _flow(mu, nu, n_steps, speed):
    """All points of Algorithm 2 under a multiple of the conditional field."""
    points = []

    def field(point, t):
        v = conditional_velocity(point, nu, t, validate=False)
        return Tangent(speed * v.mean, speed * v.lift)

    generate(field, mu, n_steps=n_steps, observe=lambda k, point: points.append(point))
    return points


def _euclidean_flow(mu, nu, n_steps):
    def field(point, t):
        v = textbook.scaled(1.0 / (1.0 - t), bures.log(point, nu, validate=False))
        return Tangent(v.mean, v.lift @ point.cov + point.cov @ v.lift)

    points = []
    generate(field, mu, n_steps=n_steps, observe=lambda k, point: points.append(point))
    return points


def flow_reaches_the_target(flow, draw):
    """After 1, 3 and 10 steps: the end against nu; on the way ``W2`` to nu against ``(1 - t) W2``."""
    mu, nu = draw.gaussians(), draw.gaussians()
    whole = textbook.distance(mu, nu)
    worst = 0.0
    for n_steps in (1, 3, 10):
        points = draw.call(flow, mu, nu, n_steps)
        scale = np.max(np.abs(mu.mean), axis=-1) + np.max(np.abs(nu.mean), axis=-1)
        worst = worst_of(worst, relative(points[-1].mean, nu.mean, scale), relative(points[-1].cov, nu.cov))
        for k in range(n_steps):
            left = textbook.distance(points[k], nu)
            worst = worst_of(worst, relative(left, (1.0 - k / n_steps) * whole, whole))
    return worst

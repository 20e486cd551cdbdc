"""Audited formulas of conditional flows (WFM appendix B): the field that sees nothing but the target."""

import numpy as np

from refwfm import bures
from refwfm.bures import Tangent
from refwfm.conditional import conditional_velocity, gradient_half_sq_distance, premetric_velocity
from refwfm.validation import textbook
from refwfm.validation.check import WELL, Check, Item, Misprint, differences, roundings, worst_of
from refwfm.validation.textbook import block, derivative, identity, relative, scaled, size


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [wfm_21(), wfm_22(), wfm_23()]


# WFM-21


def wfm_21() -> Item:
    """Gradient of half the squared distance."""
    return Item(
        id="WFM-21",
        paper="WFM",
        place="appendix B, eq. 21 and Lemma B.1",
        title="gradient of half the squared distance",
        latex=r"\nabla\tfrac12W_2^2(\cdot,\nu)(\mu)=-\log_\mu\nu=-(T-\mathrm{id})",
        statement="The steepest descent of ½ W2² to nu is the geodesic; so the gradient of W2 has norm 1.",
        functions=(gradient_half_sq_distance,),
        checks=(
            Check(
                "finite differences of the textbook distance",
                slope_along_any_tangent,
                gradient_half_sq_distance,
                {
                    "as printed: twice": lambda mu, nu: scaled(-2.0, bures.log(mu, nu)),
                    "the sign": bures.log,
                    "S A instead of S": lambda mu, nu: Tangent(
                        mu.mean - nu.mean, -bures.log(mu, nu).lift @ mu.cov
                    ),
                },
                differences(500, WELL),
            ),
            Check(
                "textbook distance: the gradient of W2 has norm 1",
                gradient_has_norm_one,
                gradient_half_sq_distance,
                {
                    "as printed: twice": lambda mu, nu: scaled(-2.0, bures.log(mu, nu)),
                    "C instead of C - I": lambda mu, nu: Tangent(
                        mu.mean - nu.mean, -bures.log(mu, nu).lift - identity(mu.cov)
                    ),
                },
                roundings(500, WELL),
            ),
        ),
        misprints=(
            Misprint(
                "E3",
                r"\nabla\tfrac12W_2^2(\cdot,\nu)(\mu)=-\log_\mu\nu=-2(T-\mathrm{id})",
                r"\nabla\tfrac12W_2^2(\cdot,\nu)(\mu)=-\log_\mu\nu=-(T-\mathrm{id})",
                "The factor 2 belongs to the gradient of W2² itself.",
                "as printed: twice",
            ),
            Misprint(
                "E19",
                r"W_2 is a premetric (Lemma B.1)",
                r"\nabla W_2(\cdot,\nu)(\mu)\ne0 \text{ for } \mu\ne\nu",
                "W2 has a cone point at mu = nu, where it has no gradient; off the diagonal the lemma holds.",
            ),
        ),
    )


def slope_along_any_tangent(gradient, draw):
    """``⟨∇, ξ⟩`` against the derivative of ``½ W2²(exp_mu(h ξ), nu)`` at h = 0, for random ξ."""
    mu, nu, xi = draw.gaussians(), draw.gaussians(), draw.tangents()
    slope = derivative(lambda h: 0.5 * textbook.sq_distance(textbook.exp(mu, scaled(h, xi)), nu))
    result = textbook.inner(mu, draw.call(gradient, mu, nu), xi)
    scale = np.sqrt(textbook.sq_distance(mu, nu) * textbook.inner(mu, xi, xi))
    return relative(result, slope, scale)


def gradient_has_norm_one(gradient, draw):
    """``‖∇ ½ W2²‖ = W2``, so that the gradient of W2 itself, ``∇ ½ W2² / W2``, has norm 1."""
    mu, nu = draw.gaussians(), draw.gaussians()
    v = draw.call(gradient, mu, nu)
    return relative(np.sqrt(textbook.inner(mu, v, v) / textbook.sq_distance(mu, nu)), np.ones(draw.size))


# WFM-22


def wfm_22() -> Item:
    """Premetric field."""
    return Item(
        id="WFM-22",
        paper="WFM",
        place="appendix B, eq. 22",
        title="conditional field of a premetric",
        latex=r"u_t(x|y)=\frac{d\ln(1-t)}{dt}\,\frac{d(x,y)\,\nabla_xd(x,y)}{\|\nabla_xd(x,y)\|_g^2}",
        statement="Descending the distance so that it falls like 1 - t is moving along the geodesic.",
        functions=(premetric_velocity,),
        checks=(
            Check(
                "the formula on the textbook's metric: any distance, any gradient",
                descent_of_any_premetric,
                premetric_velocity,
                {
                    "uphill": lambda mu, *args: scaled(-1.0, premetric_velocity(mu, *args)),
                    "gradient of norm 1 taken for granted": lambda mu, distance, gradient, t: scaled(
                        -distance / (1.0 - t), gradient
                    ),
                    "norm instead of its square": lambda mu, distance, gradient, t: scaled(
                        -distance
                        / (1.0 - t)
                        / np.sqrt(bures.sq_tangent_norm(mu, gradient) + (distance == 0)),
                        gradient,
                    ),
                    "without d": lambda mu, distance, gradient, t: premetric_velocity(
                        mu, np.sign(distance), gradient, t
                    ),
                    "1 / t instead of 1 / (1 - t)": lambda mu, distance, gradient, t: premetric_velocity(
                        mu, distance, gradient, 1.0 - t
                    ),
                },
                roundings(300, "sums of at most 256 products"),
            ),
            Check(
                "finite differences of the textbook distance, the gradient of W2 in the formula",
                velocity_descends_the_distance,
                _velocity_of_w2,
                {
                    "uphill": lambda mu, nu, t: scaled(-1.0, _velocity_of_w2(mu, nu, t)),
                    "of the squared distance": lambda mu, nu, t: scaled(0.5, _velocity_of_w2(mu, nu, t)),
                    "as printed: at exp((1 - t) log)": lambda mu, nu, t: _velocity_of_w2(mu, nu, 1.0 - t),
                },
                differences(500, "condition number 30"),
                dimensions=(1, 2, 3),
            ),
            Check(
                "finite differences of the textbook distance",
                velocity_descends_the_distance,
                bures.velocity,
                {
                    "uphill": lambda mu, nu, t: scaled(-1.0, bures.velocity(mu, nu, t)),
                    "without 1 / (1 - t)": lambda mu, nu, t: scaled(1.0 - t, bures.velocity(mu, nu, t)),
                    "1 / t instead of 1 / (1 - t)": lambda mu, nu, t: scaled(
                        (1.0 - t) / t, bures.velocity(mu, nu, t)
                    ),
                    "as printed: at exp((1 - t) log)": lambda mu, nu, t: bures.velocity(mu, nu, 1.0 - t),
                },
                differences(500, "condition number 30"),
                dimensions=(1, 2, 3),
            ),
        ),
        misprints=(
            Misprint(
                "E2",
                r"x_t=\exp_x((1-t)\log_xy)",
                r"x_t=\exp_x(t\log_xy)",
                "The field (22) is right as printed; the path printed beside it runs backwards.",
                "as printed: at exp((1 - t) log)",
            ),
        ),
    )


def _velocity_of_w2(mu, nu, t):
    """The premetric field of W2 at the point of the geodesic."""
    point = bures.interpolate(mu, nu, t)
    square = bures.sq_distance(point, nu)
    half = gradient_half_sq_distance(point, nu)
    root = square**0.5
    gradient = Tangent(half.mean / root[:, None], half.lift / root[:, None, None])
    return premetric_velocity(point, root, gradient, t)


def descent_of_any_premetric(velocity, draw):
    """``-d ∇ / ((1 - t) ⟨∇, ∇⟩)`` for random d and ∇, and zero where d and ∇ are."""
    mu, gradient, t = draw.gaussians(), draw.tangents(), draw.times(high=0.9)
    distance = np.abs(draw.normal(draw.size)) + 0.5
    distance[-1], gradient.mean[-1], gradient.lift[-1] = 0.0, 0.0, 0.0
    square = textbook.inner(mu, gradient, gradient) + (distance == 0.0)
    truth = scaled(-distance / ((1.0 - t) * square), gradient)
    result = draw.call(velocity, mu, distance, gradient, t)
    return worst_of(*(relative(*pair, 1.0 + size(pair[1])) for pair in zip(result, truth, strict=True)))


def velocity_descends_the_distance(velocity, draw):
    """Velocity at mu_t against (22): W2 to nu differentiated in all directions, SciPy's Lyapunov solver."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times(low=0.1, high=0.8)
    point, _ = textbook.path(mu, nu, t)
    gradient = _gradient(point, nu)
    square = textbook.inner(point, gradient, gradient)
    truth = scaled(-np.sqrt(textbook.sq_distance(point, nu)) / ((1.0 - t) * square), gradient)
    result = draw.call(velocity, mu, nu, t)
    size = 1.0 + np.max(np.abs(truth.lift), axis=(-2, -1))
    return worst_of(relative(result[0], truth.mean, size), relative(result[1], truth.lift, size))


def _gradient(mu, nu):
    """Riemannian gradient of ``W2(·, nu)``: ``⟨G, Ξ⟩ = tr(G Σ Ξ)`` for all symmetric Ξ solved for G."""

    def slope(xi):
        return derivative(lambda h: np.sqrt(textbook.sq_distance(textbook.exp(mu, scaled(h, xi)), nu)))

    d, one = mu.mean.shape[-1], identity(mu.cov)
    zero = Tangent(0.0 * mu.mean, 0.0 * mu.cov)
    mean = np.stack([slope(zero._replace(mean=one[:, i])) for i in range(d)], axis=-1)
    partial = np.zeros_like(mu.cov)
    for i in range(d):
        for j in range(d):
            unit = 0.5 * (one[:, i, :, None] * one[:, j, None, :] + one[:, j, :, None] * one[:, i, None, :])
            partial[:, i, j] = slope(zero._replace(lift=unit))
    return Tangent(mean, textbook.lyapunov(mu.cov, 2.0 * partial))


# WFM-23


def wfm_23() -> Item:
    """Conditional field of W2."""
    return Item(
        id="WFM-23",
        paper="WFM",
        place="appendix B, eq. 23 and Lemma B.2",
        title="conditional field is the optimal velocity",
        latex=(
            r"\mathfrak u_t(\mu_t|\nu)=\tfrac1{1-t}(T^{\mu_t\to\nu}-\mathrm{id})"
            r"=(T-\mathrm{id})\circ T_t^{-1}=v_t"
        ),
        statement="The rest of the way over the rest of the time; T^{mu_t -> nu} = T ∘ T_t⁻¹.",
        functions=(conditional_velocity, bures.velocity),
        checks=(
            Check(
                "textbook velocity, SciPy sqrtm",
                rest_over_rest,
                _at_the_point,
                {
                    "as printed, third line: -1 / (1 - t)": lambda mu, nu, t: scaled(
                        -1.0, _at_the_point(mu, nu, t)
                    ),
                    "without 1 / (1 - t)": lambda mu, nu, t: scaled(1.0 - t, _at_the_point(mu, nu, t)),
                    "1 / t": lambda mu, nu, t: scaled((1.0 - t) / t, _at_the_point(mu, nu, t)),
                },
                roundings(1000, WELL + ", and the division by 1 - t >= 0.1"),
            ),
            Check(
                "textbook maps, SciPy sqrtm",
                map_of_the_rest,
                lambda mu, nu, t: bures.gelbrich_map(bures.interpolate(mu, nu, t), nu),
                {
                    "as printed: T ∘ (T^{mu_t -> nu})⁻¹": lambda mu, nu, t: (
                        bures.gelbrich_map(mu, nu)
                        @ np.linalg.inv(bures.gelbrich_map(bures.interpolate(mu, nu, t), nu))
                    ),
                    "the whole map T": lambda mu, nu, t: bures.gelbrich_map(mu, nu),
                    "T_t instead of its inverse": lambda mu, nu, t: (
                        bures.gelbrich_map(mu, nu) @ _mover(bures.gelbrich_map(mu, nu), t)
                    ),
                },
                roundings(500, WELL),
            ),
        ),
        misprints=(
            Misprint(
                "E4",
                r"\mathfrak u_t=\frac{-1}{1-t}(T\circ T_t^{-1}-\mathrm{id}) \text{ (Lemma B.2, third line)}",
                r"\mathfrak u_t=\frac{1}{1-t}(T\circ T_t^{-1}-\mathrm{id})",
                "A stray minus; the second and the fourth line are right.",
                "as printed, third line: -1 / (1 - t)",
            ),
            Misprint(
                "E5",
                r"T^{\mu_t\to\nu}=T^{\mu\to\nu}\circ(T^{\mu_t\to\nu})^{-1}",
                r"T^{\mu_t\to\nu}=T^{\mu\to\nu}\circ(T^{\mu\to\mu_t})^{-1}",
                "As printed the identity defines the map by itself.",
                "as printed: T ∘ (T^{mu_t -> nu})⁻¹",
            ),
        ),
    )


def _at_the_point(mu, nu, t):
    return conditional_velocity(bures.interpolate(mu, nu, t), nu, t)


def _mover(C, t):
    return (1.0 - block(t)) * identity(C) + block(t) * C


def rest_over_rest(velocity, draw):
    """``log_{mu_t}(nu) / (1 - t)`` against ``(C - I) T_t⁻¹``."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times(low=0.1, high=0.9)
    result, (_, truth) = draw.call(velocity, mu, nu, t), textbook.path(mu, nu, t)
    mean_error = relative(result.mean, truth.mean, 1.0 + np.max(np.abs(truth.mean), axis=-1))
    return worst_of(mean_error, relative(result.lift, truth.lift, 1.0 + size(truth.lift)))


def map_of_the_rest(rest, draw):
    """``C^{Σ_t -> B}`` against ``C T_t⁻¹``."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    C = textbook.gelbrich_map(mu.cov, nu.cov)
    return relative(draw.call(rest, mu, nu, t), C @ np.linalg.inv(_mover(C, t)))

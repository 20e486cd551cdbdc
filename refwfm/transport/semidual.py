"""The semi-dual of entropic transport: what one potential is worth, whoever has predicted it.

Of the two potentials of a plan one suffices: the half-step of Sinkhorn's iteration gives the best g for any
f, and with it the columns of the plan are exact. What is left is a concave function of f alone,

    S(f) = ⟨f, a⟩ + ⟨g(f), b⟩ + constants,    ∇S(f) = a - P(f, g(f)) 1,

whose value is a certificate: never above the optimum, and below it by ``eps KL(P* | P)``. So a network that
predicts f can be trained without one solved problem, and a start can be judged without solving.

Convention. Potentials are those of ``sinkhorn``, ``P = a b exp((f + g - K) / eps)``: atoms of weight 0 are
masked by themselves, and their component of the gradient is 0. The papers' form ``P = exp((f + g - K) /
eps)`` has the potential ``f + eps log a``, which is -inf there: see ``to_product_convention``.

References
----------
META-OT : Amos, Luise, Cohen, Redko, "Meta Optimal Transport", ICML 2023.
Cuturi and Peyré, "Semidual Regularized Optimal Transport", 2018.
"""

from typing import Any

from refwfm._array import Array, array_namespace, check_floating
from refwfm._derivatives import with_pullback
from refwfm.transport.grids import Cost, Grid, Softmin, check_histograms, half_steps, marginal
from refwfm.transport.problem import Problem, log_weights


def semidual_value(
    f: Array,
    cost: Cost,
    a: Array,
    b: Array,
    /,
    *,
    eps: float | Array,
    validate: bool = True,
    minimum: Softmin | None = None,
) -> Array:
    """Semi-dual S(f), the dual at f and its half-step g: at most ``min ⟨K, P⟩ + eps Σ P (log P - 1)``.

    Equation: META-OT-1, META-OT-3. ``⟨f + eps log a, a⟩ + ⟨g + eps log b, b⟩ - eps``: the mass of the plan is
    1.

    Parameters
    ----------
    f : array, shape (..., n). Units: cost. What it holds where a is 0 has no influence.
    cost : array (..., n, m), or Grid
    a, b : array, shapes (..., n) and (..., m); leading axes broadcast
    eps : float, or array of shape (...). Absolute.
    validate : bool
        Check values of cost and weights, as ``sinkhorn`` does, and that f is finite.
    minimum : function, optional
        A twin of ``softmin`` or ``grid_softmin``.

    Returns
    -------
    array, shape (...). Units: cost. Not finite for infinite eps, where ``kl_dual_value`` is.

    Raises
    ------
    ValueError
        As ``sinkhorn`` does.

    Notes
    -----
    On torch and JAX the derivative is that of the envelope theorem: one more half-step for f and the weights,
    and one plan for a cost matrix, not through the logarithms. There is none for eps or the axes of a grid.

    Examples
    --------
    >>> one = np.ones(1)
    >>> float(semidual_value(np.full(1, 7.0), np.full((1, 1), 2.0), one, one, eps=1.0))  # 2 + 1 (log 1 - 1)
    1.0
    """
    given = {"eps": eps, "validate": validate, "minimum": minimum}
    value, problem = _kl_dual(f, cost, a, b, **given)
    xp = array_namespace(value)
    terms = (xp.sum(_entropy_terms(part), axis=-1) for part in (problem.a, problem.b))
    return value + problem.eps * (sum(terms) - 1.0)


def kl_dual_value(
    f: Array,
    cost: Cost,
    a: Array,
    b: Array,
    /,
    *,
    eps: float | Array,
    validate: bool = True,
    minimum: Softmin | None = None,
) -> Array:
    """Semi-dual objective of ``min ⟨K, P⟩ + eps KL(P | a ⊗ b)``: ``⟨f, a⟩ + ⟨g(f), b⟩``.

    Equation: META-OT-1, META-OT-3. S(f) without the constant ``eps (Σ a log a + Σ b log b - 1)``, hence with
    the same gradient: ``dual_value`` at f and its half-step. Parameters, result and derivative as for
    ``semidual_value``.

    Examples
    --------
    >>> one = np.ones(1)
    >>> float(kl_dual_value(np.full(1, 7.0), np.full((1, 1), 2.0), one, one, eps=1.0))
    2.0
    """
    return _kl_dual(f, cost, a, b, eps=eps, validate=validate, minimum=minimum)[0]


def semidual_gradient(
    f: Array,
    cost: Cost,
    a: Array,
    b: Array,
    /,
    *,
    eps: float | Array,
    validate: bool = True,
    minimum: Softmin | None = None,
) -> Array:
    """Gradient of the semi-dual with respect to f: ``a - P 1``, what the rows lack. Shape (..., n).

    Equation: META-OT-2. The envelope theorem: g is the best for f, so that its change does not matter. The
    sum of its absolute values is the marginal error of the start f. Parameters as for ``semidual_value``.

    Examples
    --------
    >>> half = np.full(2, 0.5)
    >>> semidual_gradient(np.asarray([3.0, 3.0]), np.zeros((2, 2)), half, half, eps=1.0).tolist()
    [0.0, 0.0]
    """
    return semidual_value_and_gradient(f, cost, a, b, eps=eps, validate=validate, minimum=minimum)[1]


def semidual_value_and_gradient(
    f: Array,
    cost: Cost,
    a: Array,
    b: Array,
    /,
    *,
    eps: float | Array,
    validate: bool = True,
    minimum: Softmin | None = None,
) -> tuple[Array, Array]:
    """``kl_dual_value`` (...) and ``semidual_gradient`` (..., n), which share the half-step to g.

    Equation: META-OT-2. What training needs: two half-steps in all. Parameters as for ``semidual_value``.

    Examples
    --------
    >>> one = np.ones(1)
    >>> value, gradient = semidual_value_and_gradient(np.zeros(1), 2.0 * np.ones((1, 1)), one, one, eps=1.0)
    >>> float(value), gradient.tolist()
    (2.0, [0.0])
    """
    check_floating(f=f, a=a, b=b)
    problem = check_histograms(cost, a, b, eps=eps, f_init=f, validate=validate)
    _, a, b, epsilon, f = problem
    columns, rows = half_steps(problem, minimum)
    g = columns(f)
    xp = array_namespace(f)
    return xp.sum(f * a, axis=-1) + xp.sum(g * b, axis=-1), a - marginal(a, f, rows(g), epsilon)


def to_product_convention(f: Array, weights: Array, /, *, eps: float | Array) -> Array:
    """Potential f of ``P = a b exp((f + g - K) / eps)`` from that of ``P = exp((f + g - K) / eps)``.

    Equation: META-OT-1. ``f - eps log a``; 0 where a is 0, whatever f is there.

    Parameters
    ----------
    f, weights : array, shape (..., n)
    eps : float, or array of shape (...). Units: cost, as f.

    Examples
    --------
    >>> to_product_convention(np.asarray([np.log(0.25), -np.inf]), np.asarray([0.25, 0.0]), eps=1.0).tolist()
    [0.0, 0.0]
    """
    xp = check_floating(f=f, weights=weights)
    dead = weights <= 0  # not so of NaN, which stays
    logs = xp.log(xp.where(dead, xp.ones_like(weights), weights))
    eps = eps if isinstance(eps, int | float) else eps[..., None]
    return xp.where(dead, xp.zeros_like(logs), f - eps * logs)


def _entropy_terms(weights: Array) -> Array:
    """``w log w``, 0 at 0."""
    xp = array_namespace(weights)
    return weights * xp.log(xp.where(weights > 0, weights, xp.ones_like(weights)))


def _kl_dual(f: Array, cost: Cost, a: Array, b: Array, **options: Any) -> tuple[Array, Problem]:
    """Value, with the derivative of the envelope theorem, and the checked problem."""
    check_floating(f=f, a=a, b=b)
    minimum = options.pop("minimum")
    problem = check_histograms(cost, a, b, f_init=f, **options)
    xp = array_namespace(f)
    cost, a, b, eps, f = problem
    a, b = (xp.broadcast_to(part, (*eps.shape, part.shape[-1])) for part in (a, b))
    matrix = () if isinstance(cost, Grid) else (xp.broadcast_to(cost, (*eps.shape, *cost.shape[-2:])),)

    def on(eps: Array, f: Array, a: Array, b: Array, *parts: Array) -> Any:
        here: Cost = parts[0] if matrix else Grid(parts)
        return half_steps(Problem(here, a, b, eps, f), minimum)

    def value(*given: Array) -> Array:
        _, f, a, b = given[:4]
        return xp.sum(f * a, axis=-1) + xp.sum(on(*given)[0](f) * b, axis=-1)

    def pullback(d_value: Array, *given: Array) -> Any:
        eps, f, a, b, *parts = given
        columns, rows = on(*given)
        g, scale = columns(f), d_value[..., None]
        following = rows(g)
        ratio = xp.exp(xp.where(a > 0, f - following, xp.zeros_like(f)) / eps[..., None])  # P 1 / a

        def plan() -> Array:
            logs = (f[..., :, None] + g[..., None, :] - parts[0]) / eps[..., None, None]
            return scale[..., None] * xp.exp(
                logs + log_weights(a)[..., :, None] + log_weights(b)[..., None, :]
            )

        def refuse() -> Array:
            raise RuntimeError("the semi-dual has no derivative with respect to eps or a grid: detach them")

        d_f = scale * (a - marginal(a, f, following, eps))
        d_a = scale * xp.where(a > 0, f - eps[..., None] * ratio, xp.zeros_like(f))
        rest = (plan,) if matrix else (refuse,) * len(parts)
        return (refuse, d_f, d_a, scale * g, *rest)

    return with_pullback(value, pullback, eps, f, a, b, *(matrix or cost.axes)), problem

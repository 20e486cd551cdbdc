"""Entropic plans: kernels that vanish, iterations that stop, values that leave something out."""

import numpy as np

from refwfm.couplings.outer import outer_plan
from refwfm.measures import PointCloud
from refwfm.transport.entropic import barycentric_projection, sinkhorn_divergence
from refwfm.transport.plans import MarginalError, marginal_error, sample_pairs
from refwfm.transport.sinkhorn import dual_value, plan, sinkhorn, softmin, sq_euclidean_cost
from refwfm.validation.entropic_problems import solve, solve_cost, solved
from refwfm.validation.museum.exhibit import Exhibit, Mutant, Trap, near


def exhibits() -> list[Exhibit]:
    """Exhibits of this room."""
    return [*_iterations(), *_values(), *_plans()]


def _iterations() -> list[Exhibit]:
    return [
        Exhibit(
            "POT-54",
            "a kernel that vanishes",
            "PythonOT/POT#54",
            2018,
            "With a small regularisation the entries of exp(-cost / eps) underflow. Users saw a warning of "
            "numerical errors in the first iteration, and then a distance of 0.",
            Trap(small_regularisation_has_a_plan, by_potentials, in_the_kernel_domain),
        ),
        Exhibit(
            "POT-552",
            "weights of zero in the log domain",
            "PythonOT/POT#552",
            2023,
            "Between two points of mass one, among others of mass zero, the regularised cost was 1 for "
            "arrays and NaN for tensors. Here the logarithm of a zero weight meets a zero.",
            Trap(padding_costs_nothing, value_by_potentials, value_with_logarithms_of_zero),
        ),
        Exhibit(
            "POT-748",
            "an iteration that is stuck",
            "PythonOT/POT#748",
            2025,
            "The variants with scaled and stabilised kernels reported the same marginal error, two "
            "thousandths, from the tenth iteration to the last, whatever the regularisation.",
            Mutant("WFM-12", "POT, Sinkhorn in the log domain", stuck_after_two_iterations),
        ),
        Exhibit(
            "ott-184",
            "only one marginal is looked at",
            "ott-jax/ott#184",
            2022,
            "The iteration stopped by the error of one marginal. That is enough when the other is exact "
            "after each step, and not when both potentials are updated at once.",
            Mutant("WFM-U8", "sums over loops", error_of_the_columns),
        ),
        Exhibit(
            "ott-375",
            "converged, it says",
            "ott-jax/ott#375",
            2023,
            "When the number of iterations was fixed beforehand, the flag of convergence did not depend on "
            "the error that was reached.",
            Trap(an_unfinished_iteration_says_so, converged, converged_when_all_iterations_are_done),
        ),
        Exhibit(
            "benchmark_ot-3",
            "a regularisation that is not used",
            "benchopt/benchmark_ot#3",
            2023,
            "In a benchmark of solvers one of them was never given the regularisation, and ran with its "
            "own default: another problem was timed.",
            Mutant("WFM-12", "POT, Sinkhorn in the log domain", solved_for_a_default_eps),
        ),
        Exhibit(
            "POT-374",
            "a cost taken for symmetric",
            "PythonOT/POT#374",
            2022,
            "Barycenters of histograms came out with masses above 1: the iteration uses the kernel where its "
            "transpose belongs, which is the same only for symmetric costs.",
            Mutant("WFM-12", "SciPy logsumexp", softmin_of_the_transposed_cost),
        ),
    ]


def _values() -> list[Exhibit]:
    return [
        Exhibit(
            "ott-5",
            "a converged problem with the value NaN",
            "google-research/ott#5",
            2021,
            "The potentials of a float32 problem were finite and the iteration had converged, but the "
            "regularised cost was NaN. Here entries of the plan underflow, and 0 log 0 is added up.",
            Trap(a_converged_problem_has_a_value, value_by_potentials, value_by_entropy),
        ),
        Exhibit(
            "POT-383",
            "a divergence without its entropy",
            "PythonOT/POT#383",
            2022,
            "The Sinkhorn divergence of samples was made of transport costs alone, while its documentation "
            "promised the regularised ones.",
            Mutant("WFM-Div", "POT's plans, cost and entropy by sums", divergence_of_costs),
        ),
        Exhibit(
            "POT-230",
            "a divergence with the wrong weights",
            "PythonOT/POT#230",
            2021,
            "A reader found that weights were not used properly in its terms. Here a cloud is compared with "
            "itself as if all its points weighed the same.",
            Mutant("WFM-Div", "POT's plans, cost and entropy by sums", own_terms_with_even_weights),
        ),
        Exhibit(
            "GeomLoss-25",
            "negative divergences",
            "jeanfeydy/geomloss#25",
            2020,
            "The divergence of two samples was negative with default options. The schedule that lowers the "
            "regularisation takes few, large steps, so that the three terms are not converged.",
            Mutant("WFM-Div", "POT's plans, cost and entropy by sums", divergence_of_two_iterations),
        ),
        Exhibit(
            "GeomLoss-51",
            "a point and itself",
            "jeanfeydy/geomloss#51",
            2021,
            "The loss between one point and itself crashed: the schedule of regularisations starts at the "
            "diameter of the data, and the logarithm of zero is taken.",
            Trap(a_point_is_at_no_distance_from_itself, divergence, divergence_by_a_schedule),
        ),
        Exhibit(
            "GeomLoss-58",
            "two values of one problem",
            "jeanfeydy/geomloss#58",
            2022,
            "For a small blur the loss and the cost of the plan made from its potentials drifted apart. Here "
            "the loss leaves out that the mass of the plan is not one before the end.",
            Mutant("WFM-12", "the dual objective, by sums", value_without_the_mass),
        ),
    ]


def _plans() -> list[Exhibit]:
    return [
        Exhibit(
            "bayesflow-531",
            "probabilities taken for their logarithms",
            "bayesflow-org/bayesflow#531",
            2025,
            "Pairs were drawn by a function that wants log-probabilities and was given the plan itself: they "
            "are nearly independent, and training goes on as if nothing were wrong.",
            Mutant("GWFM-29", "frequencies of all pairs, Monte Carlo", pairs_by_exponentials_of_the_plan),
        ),
        Exhibit(
            "torchcfm-142",
            "some points twice, others never",
            "atong01/conditional-flow-matching#142",
            2024,
            "A user of the exact plan expected a permutation of the minibatch. Pairs are drawn from it with "
            "replacement, so that points are repeated and missing.",
            Mutant("GWFM-29", "enumeration: permutations without replacement", pairs_with_replacement),
        ),
        Exhibit(
            "torchcfm-49",
            "a bridge without its regularisation",
            "atong01/conditional-flow-matching#49",
            2023,
            "A reader saw that the class for Schrödinger bridges computes a regularisation, while its plan "
            "is the exact one by default, with which the notebooks ran.",
            Mutant("GWFM-B4", "double ratios of the plan's entries", plan_without_regularisation),
        ),
        Exhibit(
            "latentOT-1",
            "a projection that forgets the masses",
            "nerdslab/latentOT#1",
            2023,
            "A reader asked why points are mapped by the product of plan and targets, without a division by "
            "the masses of the rows as elsewhere: they shrink towards the origin with their number.",
            Mutant("WFM-13", "NumPy average of each row", projection_without_masses),
        ),
    ]


# What is right


def by_potentials(cost, a, b, *, eps):
    """Plan of Sinkhorn's iteration in the log domain."""
    return plan(cost, a, b, sinkhorn(cost, a, b, eps=eps))


def value_by_potentials(cost, a, b, *, eps):
    """Entropic cost by duality."""
    return dual_value(cost, a, b, sinkhorn(cost, a, b, eps=eps))


def converged(cost, a, b, *, eps):
    """What one iteration says of itself."""
    return sinkhorn(cost, a, b, eps=eps, tol=None, max_iter=1, require=False).converged


def divergence(x, y):
    """Sinkhorn divergence, eps relative to the largest cost."""
    return sinkhorn_divergence(x, y, eps=0.05, scale_cost="max").value


# What goes wrong


def in_the_kernel_domain(cost, a, b, *, eps):
    """Scaling of the kernel ``exp(-K / eps)``."""
    kernel, u, v = np.exp(-cost / eps), np.ones_like(a), np.ones_like(b)
    for _ in range(1000):
        v = b / (u @ kernel)
        u = a / (kernel @ v)
    return u[:, None] * kernel * v


def value_with_logarithms_of_zero(cost, a, b, *, eps):
    """Potentials that hold the logarithms of the weights, and their sums weighted."""
    found = sinkhorn(cost, a, b, eps=eps)
    return (
        a @ (found.f + eps * np.log(a))
        + b @ (found.g + eps * np.log(b))
        - eps * (a @ np.log(a) + b @ np.log(b))
    )


def value_by_entropy(cost, a, b, *, eps):
    """``⟨K, P⟩ + eps ⟨P, log P - log a bᵀ⟩``, P the exponential of its logarithm."""
    P = by_potentials(cost, a, b, eps=eps)
    return np.sum(P * cost) + eps * np.sum(P * (np.log(P) - np.log(a[:, None] * b)))


def stuck_after_two_iterations(x, y, eps):
    """Iterations after the second change nothing."""
    return solve_cost(sq_euclidean_cost(x.points, y.points), x.weights, y.weights, eps, iterations=2)


def error_of_the_columns(plan, a, b):
    """The rows are taken to be exact."""
    error = marginal_error(plan, a, b)
    return MarginalError(*(part if k else np.zeros_like(part) for k, part in enumerate(error)))


def converged_when_all_iterations_are_done(cost, a, b, *, eps):
    """Converged, because as many iterations were done as were asked for."""
    return sinkhorn(cost, a, b, eps=eps, tol=None, max_iter=1, require=False).n_iter == 1


def solved_for_a_default_eps(x, y, eps):
    """The solver's default, whatever was asked for."""
    return solve(x, y, np.ones_like(eps))


def softmin_of_the_transposed_cost(cost, potential, weights, eps):
    """Rows and columns of the cost exchanged; what is missing is repeated."""
    n, m = cost.shape[-2:]
    index = np.ix_(np.arange(n) % m, np.arange(m) % n)
    return softmin(cost.mT[(..., *index)], potential, weights, eps)


def _entropic_cost(x, y, eps):
    cost = sq_euclidean_cost(x.points, y.points)
    return dual_value(cost, x.weights, y.weights, solved(x, y, eps))


def divergence_of_costs(x, y, eps):
    """Transport costs ``⟨K, P⟩`` in place of the entropic ones."""

    def priced(u, v):
        cost = sq_euclidean_cost(u.points, v.points)
        return np.sum(plan(cost, u.weights, v.weights, solved(u, v, eps)) * cost, axis=(-2, -1))

    return priced(x, y) - 0.5 * priced(x, x) - 0.5 * priced(y, y)


def own_terms_with_even_weights(x, y, eps):
    """Each cloud with itself, all points alike."""
    even = [c._replace(weights=np.full(c.weights.shape, 1.0 / c.weights.shape[-1])) for c in (x, y)]
    return _entropic_cost(x, y, eps) - sum(0.5 * _entropic_cost(c, c, eps) for c in even)


def divergence_of_two_iterations(x, y, eps):
    """Three solutions that are not converged."""
    return sinkhorn_divergence(x, y, eps=eps, tol=None, max_iter=2, require=False).value


def divergence_by_a_schedule(x, y):
    """Regularisations from the diameter down to a twentieth, each half of the one before."""
    diameter = np.max(sq_euclidean_cost(x.points, y.points))
    steps = np.arange(np.log(diameter), np.log(0.05 * diameter), np.log(0.5))
    return [sinkhorn_divergence(x, y, eps=float(np.exp(step))).value for step in steps][-1]


def value_without_the_mass(cost, a, b, solution):
    """``⟨f, a⟩ + ⟨g, b⟩``, right only where the plan has mass one."""
    return np.sum(solution.f * a, axis=-1) + np.sum(solution.g * b, axis=-1)


def pairs_by_exponentials_of_the_plan(plan, n, *, rng):
    """The plan's entries as logarithms of probabilities."""
    share = np.exp(plan)
    return sample_pairs(share / np.sum(share, axis=(-2, -1), keepdims=True), n, rng=rng)


def pairs_with_replacement(plan, n, *, rng):
    """As many pairs as points, drawn independently."""
    return sample_pairs(plan, n, rng=rng)


def plan_without_regularisation(cost, eps):
    """The optimal plan, whatever eps is."""
    return outer_plan(cost)


def projection_without_masses(plan, y):
    """Plan times targets, not divided by the masses of the rows."""
    return barycentric_projection(plan, y) * np.sum(plan, axis=-1, keepdims=True)


# What is asked

HALF = np.full(2, 0.5)


def small_regularisation_has_a_plan(solve):
    """Costs of 4 and 5 at eps = 0.001: the plan is the optimal one."""
    cost = np.asarray([[4.0, 5.0], [5.0, 4.0]])
    return near(solve(cost, HALF, HALF, eps=1e-3), [[0.5, 0.0], [0.0, 0.5]], 1e-6)


def padding_costs_nothing(value):
    """All mass from one corner of a square to the next, the other corners empty: the cost is 1."""
    corners = np.asarray([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    a, b = np.asarray([0.0, 1.0, 0.0, 0.0]), np.asarray([1.0, 0.0, 0.0, 0.0])
    return near(value(sq_euclidean_cost(corners, corners), a, b, eps=0.1), 1.0, 1e-9)


def an_unfinished_iteration_says_so(converged):
    """One iteration of a problem that needs many."""
    cost = np.asarray([[0.0, 1.0], [1.0, 3.0]])
    return not bool(np.all(converged(cost, np.asarray([0.3, 0.7]), HALF, eps=0.1)))


def a_converged_problem_has_a_value(value):
    """Costs of 0 and 200 in float32 at eps = 1, half of the pairs out of reach: eps log 2."""
    cost, half = np.asarray([[0.0, 200.0], [200.0, 0.0]], dtype=np.float32), HALF.astype(np.float32)
    return near(value(cost, half, half, eps=1.0), np.log(2.0), 1e-5)


def a_point_is_at_no_distance_from_itself(divergence):
    """One point, and eps relative to the largest cost, which is zero."""
    x = PointCloud(np.ones((1, 2)), np.ones(1))
    return near(divergence(x, x), 0.0, 0.0)

"""Optimal plans: solvers that answer although they have not solved, and answers that are lost on the way."""

import numpy as np

from refwfm.measures import PointCloud
from refwfm.networks import attention
from refwfm.transport.exact import assignment, sq_wasserstein2, transport_plan
from refwfm.transport.sinkhorn import sinkhorn
from refwfm.transport.sliced import sliced_cost, sq_sliced_distance
from refwfm.validation.museum.exhibit import Exhibit, Mutant, Trap, near, refuses


def exhibits() -> list[Exhibit]:
    """Exhibits of this room."""
    return [*_plans(), *_values()]


def _plans() -> list[Exhibit]:
    return [
        Exhibit(
            "POT-345",
            "integer costs give an empty plan",
            "PythonOT/POT#345",
            2022,
            "For a 2 x 2 cost of integers the optimal plan came back as integers, all of them zeros. Here "
            "the plan is brought to the dtype of the cost, and masses of one half become 0.",
            Trap(integers_cost_nothing, transport_plan, plan_in_the_type_of_the_cost),
        ),
        Exhibit(
            "POT-229",
            "forbidden pairs spoil the others",
            "PythonOT/POT#229",
            2021,
            "With entries of 1e32 for pairs that no good plan uses, the plan was not optimal among the "
            "others. Here these lose their digits beside the large ones.",
            Trap(large_costs_spoil_no_others, transport_plan, plan_beside_the_largest_cost),
        ),
        Exhibit(
            "GUDHI-465",
            "distances between persistence diagrams more than twice too large",
            "GUDHI/gudhi-devel#465",
            2021,
            "Two backends disagreed widely on diagrams with one point near infinity (1e16): one of them "
            "missed the better matching of the others. So users of a library met its solver's fault.",
            Trap(a_far_pair_spoils_no_others, sq_wasserstein2, distance_beside_the_farthest),
        ),
        Exhibit(
            "POT-190",
            "uniform weights are infeasible",
            "PythonOT/POT#190",
            2020,
            "For certain numbers of points, 5 and 960 for example, the plan between uniform weights was a "
            "matrix of zeros and a warning: their sums differ in the last digit.",
            Trap(uniform_weights_have_a_plan, transport_plan, nothing_unless_sums_are_equal),
        ),
        Exhibit(
            "POT-126",
            "weights from a softmax are infeasible",
            "PythonOT/POT#126",
            2020,
            "Probabilities that a network returns in float32 do not sum to 1 in float64, into which the "
            "solver converts them: the problem was called infeasible.",
            Trap(single_precision_weights_have_a_plan, transport_plan, nothing_unless_sums_are_equal),
        ),
        Exhibit(
            "POT-12",
            "nothing moves unless all weights are equal",
            "PythonOT/POT#12",
            2017,
            "After installation on one system, plans between equal weights were right, and those between "
            "(0.5, 0.5) and (0.2, 0.8) were zero.",
            Mutant("GWFM-1", "SciPy linprog (HiGHS)", no_plan_for_unequal_weights),
        ),
        Exhibit(
            "ExactOptimalTransport-10",
            "negative masses",
            "JuliaOptimalTransport/ExactOptimalTransport.jl#10",
            2021,
            "Plans of an interior point solver had slightly negative entries, which the package handed on.",
            Mutant("GWFM-1", "SciPy linprog (HiGHS)", plan_with_negative_masses),
        ),
        Exhibit(
            "scipy-6370",
            "an assignment of undefined costs",
            "scipy/scipy#6370",
            2016,
            "Cosine distances of zero vectors are NaN; given such a matrix, the assignment never returned.",
            Trap(undefined_costs_are_refused, assignment, assignment_of_what_is_left),
        ),
        Exhibit(
            "pyemd-57",
            "histograms that do not fit",
            "wmayner/pyemd#57",
            2022,
            "Three weights of mass 3 and three of mass 2, two of these zero, with costs of five points: the "
            "solver ran for ever and raised no error. Here they are cut and scaled until they fit.",
            Trap(histograms_that_do_not_fit_are_refused, transport_plan, plan_of_what_fits),
        ),
        Exhibit(
            "scalable-pytorch-sinkhorn-4",
            "weights that are normalised twice",
            "fwilliams/scalable-pytorch-sinkhorn#4",
            2023,
            "Default weights of the second cloud were multiplied by the ratio of the sizes after they had "
            "been normalised: masses differ whenever sizes do.",
            Trap(weights_of_another_mass_are_refused, sinkhorn, sinkhorn_of_scaled_masses),
        ),
    ]


def _values() -> list[Exhibit]:
    return [
        Exhibit(
            "pyemd-32",
            "the right flow with another value",
            "wmayner/pyemd#32",
            2018,
            "The value disagreed in the third digit with the sum of flow times cost, where the largest cost "
            "was thousands of times the one that counts. The flow was right.",
            Mutant("GWFM-1", "SciPy linprog (HiGHS)", value_of_rounded_costs),
        ),
        Exhibit(
            "POT-138",
            "transport on the line with its weights in another order",
            "PythonOT/POT#138",
            2020,
            "Positions were sorted and their weights were not. Uniform weights hid it.",
            Mutant("GWFM-32", "POT, the same directions", weights_left_in_their_order),
        ),
        Exhibit(
            "ott-651",
            "a quotient for a root",
            "ott-jax/ott#651",
            2025,
            "The Wasserstein distance of order p was the cost divided by p: the power was applied before "
            "the division, `cost ** 1.0 / p`. For p = 1 it is right.",
            Mutant("GWFM-105", "POT, powers 1 and 3", divided_by_the_power),
        ),
        Exhibit(
            "POT-309",
            "a gradient that does not know what is done with the value",
            "PythonOT/POT#309",
            2021,
            "The gradients of a distance, of its multiples and of its negative were all the same: the "
            "backward pass did not use what it was given. Maximising minimised.",
            Mutant("WFM-AppE2-attention", "complex-step derivative of plain NumPy", pullback_of_ones),
        ),
        Exhibit(
            "POT-679",
            "the answer is on another device",
            "PythonOT/POT#679",
            2024,
            "For data on a GPU the exact distance came back on the CPU, and the backward pass failed.",
            Trap(the_answer_is_where_the_data_are, sq_wasserstein2, answered_on_the_host, "array_api_strict"),
        ),
    ]


# What goes wrong


def plan_in_the_type_of_the_cost(cost, a, b):
    """The plan, in the dtype of the cost."""
    found = transport_plan(cost.astype(np.float64), a, b)
    return found._replace(plan=found.plan.astype(cost.dtype))


def plan_beside_the_largest_cost(cost, a, b):
    """All costs as they are beside the largest one."""
    largest = np.max(cost)
    return transport_plan((cost + largest) - largest, a, b)


def distance_beside_the_farthest(x, y):
    """Cost of the plan for costs as they are beside the largest one."""
    cost = np.sum((x.points[:, None] - y.points) ** 2, axis=-1)
    return np.sum(plan_beside_the_largest_cost(cost, x.weights, y.weights).plan * cost)


def nothing_unless_sums_are_equal(cost, a, b):
    """A plan of zeros, unless the sums of the weights are the same to the bit."""
    found = transport_plan(cost, a, b)
    same = sum(map(float, a)) == sum(map(float, b))
    return found if same else found._replace(plan=np.zeros_like(found.plan))


def no_plan_for_unequal_weights(cost, a, b):
    """A plan of zeros for weights that are not all the same."""
    found = transport_plan(cost, a, b)
    even = np.all(a == a[..., :1], axis=-1) & np.all(b == b[..., :1], axis=-1)
    return found._replace(plan=np.where(even[..., None, None], found.plan, 0.0))


def plan_with_negative_masses(cost, a, b):
    """The optimal plan, with 1e-12 of mass moved round a square."""
    found = transport_plan(cost, a, b)
    square = np.zeros(found.plan.shape)
    square[..., :2, :2] = [[1e-12, -1e-12], [-1e-12, 1e-12]]
    sign = np.where(found.plan[..., :1, 1:2] > 0, -1.0, 1.0)
    return found._replace(plan=found.plan + sign * square)


def assignment_of_what_is_left(cost):
    """Undefined costs taken for zeros."""
    return assignment(np.nan_to_num(cost))


def plan_of_what_fits(cost, a, b):
    """The costs that there are weights for, each weight divided by the sum of its own."""
    return transport_plan(cost[: len(a), : len(b)], a / a.sum(), b / b.sum())


def sinkhorn_of_scaled_masses(cost, a, b, *, eps):
    """Each weight divided by the sum of its own."""
    return sinkhorn(cost, a / a.sum(), b / b.sum(), eps=eps)


def value_of_rounded_costs(cost, a, b):
    """The optimal plan, priced by costs that are rounded to thousandths of the largest."""
    found = transport_plan(cost, a, b)
    unit = 1e-3 * np.max(cost)
    return found._replace(cost=np.sum(found.plan * unit * np.floor(cost / unit), axis=(-2, -1)))


def weights_left_in_their_order(x, y, theta):
    """Projections sorted, weights as they come."""

    def sorted_points(cloud, way):
        return PointCloud(np.sort(cloud.points @ way, axis=-1)[..., None], cloud.weights)

    one = np.ones((1, 1))
    return np.mean([sq_sliced_distance(sorted_points(x, w), sorted_points(y, w), one) for w in theta], axis=0)


def divided_by_the_power(x, y, theta, *, p):
    """``cost ** 1.0 / p``."""
    return sliced_cost(x, y, theta, p=p) ** 1.0 / p


def pullback_of_ones(q, k, v, mask, g):
    """The gradient of the sum of the result, whatever comes after it."""
    return attention(q, k, v, mask)[1](np.ones_like(g))


def answered_on_the_host(x, y):
    """Solved on the host, and left where new arrays are made."""
    import array_api_strict as xp

    host = (
        PointCloud(*(np.asarray(xp.asarray(part, device=xp.Device("CPU_DEVICE"))) for part in c))
        for c in (x, y)
    )
    return xp.asarray(sq_wasserstein2(*host))


# What is asked


def integers_cost_nothing(plan):
    """Integers are refused, or the plan has its mass where it belongs."""
    cost, half = np.asarray([[2, 1], [1, 1]]), np.full(2, 0.5)
    return refuses(plan, cost, half, half) or near(
        plan(cost, half, half).plan, [[0.0, 0.5], [0.5, 0.0]], 1e-9
    )


def large_costs_spoil_no_others(plan):
    """Three sources and targets whose costs are of order one, one pair apart, and 1e32 between them."""
    cost = np.full((4, 4), 1e32)
    cost[:3, :3] = [[3.0, 2.0, 1.0], [2.0, 1.0, 3.0], [1.0, 3.0, 2.0]]
    cost[3, 3] = 5.0
    found = plan(cost, np.full(4, 0.25), np.full(4, 0.25)).plan
    return near(np.sum(found * cost), 2.0, 1e-9)


def a_far_pair_spoils_no_others(distance):
    """Clouds that share a point at 1e16; the others are best matched crosswise, at cost 1 each."""
    far = [0.0, 1e16]
    x = PointCloud(np.asarray([[0.0, 0.0], [5.0, 0.0], [9.0, 0.0], far]), np.full(4, 0.25))
    y = PointCloud(np.asarray([[10.0, 0.0], [6.0, 0.0], [1.0, 0.0], far]), np.full(4, 0.25))
    return near(distance(x, y), 0.75, 1e-9)


def uniform_weights_have_a_plan(plan):
    """7 points against 960."""
    a, b = np.full(7, 1 / 7), np.full(960, 1 / 960)
    cost = np.random.default_rng(0).random((7, 960))
    return near(np.sum(plan(cost, a, b).plan), 1.0, 1e-9)


def single_precision_weights_have_a_plan(plan):
    """Weights of two softmaxes in float32."""
    rng = np.random.default_rng(0)
    a, b = (np.exp(rng.standard_normal(9)).astype(np.float32) for _ in range(2))
    cost = rng.random((9, 9)).astype(np.float32)
    return near(np.sum(plan(cost, a / np.sum(a), b / np.sum(b)).plan), 1.0, 1e-6)


def undefined_costs_are_refused(solve):
    """A matrix with one NaN."""
    return refuses(solve, np.asarray([[1.0, np.nan], [2.0, 1.0]]))


def histograms_that_do_not_fit_are_refused(plan):
    """Masses that differ, and fewer weights than costs."""
    a, b, third = np.ones(3), np.asarray([2.0, 0.0, 0.0]), np.full(3, 1 / 3)
    return refuses(plan, np.eye(3), a, b) and refuses(plan, np.eye(5), third, third)


def weights_of_another_mass_are_refused(solve):
    """Uniform weights of four points, multiplied by 6 / 4."""
    return refuses(solve, np.ones((6, 4)), np.full(6, 1 / 6), np.full(4, 1 / 4) * 6 / 4, eps=1.0)


def the_answer_is_where_the_data_are(distance):
    """Two clouds on the second device of array-api-strict."""
    import array_api_strict as xp

    device = xp.Device("device1")
    points = xp.asarray([[0.0, 0.0], [1.0, 0.0]], device=device, dtype=xp.float64)
    x = PointCloud(points, xp.full(2, 0.5, device=device, dtype=xp.float64))
    return bool(distance(x, x._replace(points=points + 1.0)).device == device)

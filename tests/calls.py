"""One small call of every public function of the mathematics; what holds for all is tested on this table.

``CALLS[name]`` is a function and the arrays it is called with. They are in general position, without ties:
results are the same on every library, and have derivatives where the function has any. ``HOST`` names those
that take arrays of NumPy only, ``ON_HOST`` those that give such ones for arrays of any library, and
``INDEX_ON_HOST`` those that do with indices.
"""

from functools import partial

import numpy as np
import oracles

from refwfm import (
    barycenter,
    bures,
    bures_metric,
    clouds,
    conditional,
    evidence,
    generation,
    interop,
    interpolation,
    measures,
    networks,
    objectives,
    psd,
)
from refwfm._array import array_namespace, asarray_like, symmetrize
from refwfm.bures import EuclideanTangent, Tangent
from refwfm.couplings import costs, inner, members, outer, rectified
from refwfm.measures import Gaussian, PointCloud
from refwfm.meta import cloud_potentials, hypernetwork, icnn, monge, picnn, potentials, w2gn
from refwfm.metrics import copying, distances, nearest_gaussians, neighbours, statistics, straightness
from refwfm.metrics import populations as population_metrics
from refwfm.metrics.statistics import FamilyDistances
from refwfm.networks import _order, activations, conditioning
from refwfm.networks.features import without_gradient
from refwfm.populations import embedding, floors, flow, graphs, kernels, objective, pairs, readout, velocity
from refwfm.populations import oracles as population_oracles
from refwfm.sources import clouds as cloud_sources
from refwfm.sources import gaussians as gaussian_sources
from refwfm.sources.clouds import CholeskyNormal, PureNoise
from refwfm.training import muon, optim, regression
from refwfm.training.regression import CloudBatch, GaussianBatch
from refwfm.transport import (
    _parallel,
    duals,
    emd,
    entropic,
    exact,
    families,
    fields,
    gaussian_start,
    grid_displacement,
    grids,
    linearized,
    plans,
    point_problem,
    problem,
    programme,
    quantiles,
    reference,
    semidiscrete,
    semidual,
    shares,
    sinkhorn,
    sliced,
    sphere,
    stability,
    starts,
    streamed_plans,
    streaming,
)
from refwfm.transport.families import Family, RandomCoupling

# The arguments


def rng():
    return np.random.default_rng(1)


_DRAW = np.random.default_rng(12)


def _random(*shape):
    return _DRAW.standard_normal(shape)


def _symmetric(*shape):
    return symmetrize(_random(*shape))


def _weights(*shape):
    return _DRAW.dirichlet(np.full(shape[-1], 5.0), size=shape[:-1])


def _padded(*shape):
    """Clouds of different weights, the last row of each padding."""
    weights = np.concatenate([_weights(*shape[:-2], shape[-2] - 1), np.zeros((*shape[:-2], 1))], axis=-1)
    return PointCloud(_random(*shape) * (weights > 0)[..., None], weights)


MU, NU = (oracles.random_gaussian(_DRAW, 3, 3) for _ in range(2))
FLAT = oracles.random_gaussian(_DRAW, 3, 2)  # closed forms
T, INSIDE = np.array([0.25, 0.5, 0.75]), np.array([0.125, 0.25, 0.5])
V, W = (Tangent(_random(3, 3), 0.3 * _symmetric(3, 3, 3)) for _ in range(2))
DV, DW = (EuclideanTangent(v.mean, v.lift) for v in (V, W))
X, Y = (clouds.uniform(_random(2, 5, 2)) for _ in range(2))
WX, WY = _padded(2, 5, 2), _padded(2, 4, 2)
LX, LY = _padded(2, 5, 1), _padded(2, 4, 1)  # on the line
ONE, OTHER = (PointCloud(c.points[0], c.weights[0]) for c in (X, Y))
WONE, WOTHER = (PointCloud(c.points[0, :-1], c.weights[0, :-1]) for c in (WX, WY))
S = _random(5, 2)
ORDERED = clouds.uniform(S + 0.1 * _random(3, 5, 2))
COST, A, B = _DRAW.uniform(0.5, 2.0, (2, 5, 4)), _weights(2, 5), _weights(2, 4)
SQUARE, LINE = COST[:, :4], np.sort(_random(5))
PLAN, LOG_PLAN = A[:, :, None] * B[:, None], np.log(_DRAW.dirichlet(np.ones(16)).reshape(4, 4))
F, G = 0.1 * _random(2, 5), 0.1 * _random(2, 4)
QUERY = _random(2, 3, 2)
THETA = sliced.random_directions(X.points, rng=_DRAW, n_proj=3)
M, N = (Family(c, _weights(2)) for c in (X, Y))
COUPLING = RandomCoupling(
    _weights(4).reshape(2, 2), _DRAW.dirichlet(np.ones(25), size=(2, 2)).reshape(2, 2, 5, 5)
)
DISTANCES = FamilyDistances(*(_DRAW.uniform(1.0, 2.0, shape) for shape in ((3, 3), (3, 4), (4, 4))))
SIZES = np.array([2, 4])
LIKE = np.zeros(0)

_BLOCK = {"like": LIKE, "width": 4, "depth": 1, "heads": 2, "hidden": 3, "n_frequencies": 2}


def _filled(params):
    """Parameters in which nothing is zero, as after some training."""
    return optim.tree_map(lambda leaf: leaf + 0.1 * _random(*leaf.shape), params)


DENSE, NORM = (
    _filled(networks.init_dense(_DRAW, 3, 2, like=LIKE)),
    _filled(networks.init_layer_norm(3, like=LIKE)),
)
MLP = _filled(networks.init_mlp(_DRAW, 3, 2, like=LIKE, width=4, depth=1))
BURES_MLP = _filled(networks.init_bures_mlp(_DRAW, 3, like=LIKE, width=4, depth=1, n_frequencies=2))
SCALING = networks.identity_scaling(3, like=LIKE)
TRANSFORMER = _filled(networks.init_transformer(_DRAW, 2, n_labels=2, label_dim=3, **_BLOCK))
POINT_MLP = _filled(networks.init_point_mlp(_DRAW, 2, neighbours=2, **_BLOCK))
HEADS = _filled(networks.init_multi_head_attention(_DRAW, 4, like=LIKE))
MASK, LABELS, CLOUD_T = WX.weights > 0, np.array([0, 2]), np.array([0.25, 0.5])
ICNN = _filled(icnn.init_icnn(_DRAW, 2, like=LIKE, width=3))
PAIR = {"potential": ICNN, "conjugate": _filled(icnn.init_icnn(_DRAW, 2, like=LIKE, width=3))}
HYPER = _filled(hypernetwork.init_hypernetwork(_DRAW, 3, icnn.n_parameters(2, 3), like=LIKE, width=4))
RIDGES = hypernetwork.init_ridges(_DRAW, 2, like=LIKE, width=3)
COLOURS = _DRAW.uniform(0.05, 0.95, (2, 6, 2))
FEATURES = _random(2, 2, 3)
PICNN, OTHER_PICNN = (_filled(picnn.init_picnn(_DRAW, 2, 3, like=LIKE, width=4, depth=2)) for _ in range(2))
CONDITION = _random(2, 3)
GRID = grids.Grid((np.array([0.0, 0.75, 0.25]), np.array([1.0, -0.25])))
GRID_A, GRID_B, GRID_F = _weights(2, 6), _weights(2, 6), 0.1 * _random(2, 6)
GRID_EPS = np.array([0.3, 0.5])
POTENTIAL = _filled(potentials.init_potential_mlp(_DRAW, 5, 4, like=LIKE, width=3, depth=2))
CLOUD_POTENTIAL = _filled(cloud_potentials.init_cloud_potential(_DRAW, 2, like=LIKE, width=3))
ADAM = optim.AdamState(DENSE, optim.tree_map(np.abs, DENSE), 3)


GIVEN = (WX.points, WY.points, WX.weights, WY.weights)


def _streamed(function):
    """The function of two clouds and their entropic transport, in blocks of three."""

    def call(x, y, a, b):
        solution = streaming.sinkhorn_points(x, y, a, b, eps=1.0, tol=None, max_iter=40, block=3)
        return function(x, y, a, b, solution, block=3)

    return call


tight = partial(sinkhorn.sinkhorn, eps=1.0, tol=None, max_iter=40)
"""Sinkhorn with so many steps that its result no longer moves."""


def with_pullback(layer):
    """The layer's value and what its pullback gives for ones."""

    def both(*arguments, **options):
        value, pullback = layer(*arguments, **options)
        if isinstance(value, tuple):
            return value, pullback(tuple(array_namespace(part).ones_like(part) for part in value))
        return value, pullback(array_namespace(value).ones_like(value))

    return both


def drift(cloud, t):
    return 0.5 * cloud.points + t[:, None, None]


def gaussian_drift(mu, t):
    return Tangent(0.5 * mu.mean + t[:, None], 0.1 * mu.cov)


def _one_hot(places, x):
    """Conditions, which are names and have no derivative, in the library of x, where that is an array."""
    rows = np.eye(2)[places]
    return asarray_like(rows, x) if hasattr(x, "dtype") else rows


def _square(factor):
    return factor @ array_namespace(factor).matrix_transpose(factor)


# The calls

CALLS = {
    "barycenter.barycenter": (partial(barycenter.barycenter, tol=1e-6), MU),
    "bures.gelbrich_map": (bures.gelbrich_map, MU, NU),
    "bures.push_forward": (bures.push_forward, _random(3, 4, 3), MU, NU),
    "bures.log": (bures.log, MU, NU),
    "bures.exp": (bures.exp, MU, V),
    "bures.path": (bures.path, MU, NU, T),
    "bures.euclidean_path": (bures.euclidean_path, MU, NU, T),
    "bures.interpolate": (bures.interpolate, MU, NU, T),
    "bures.velocity": (bures.velocity, MU, NU, T),
    "bures.euclidean_velocity": (bures.euclidean_velocity, MU, NU, T),
    "bures_metric.to_euclidean": (bures_metric.to_euclidean, MU.cov, V),
    "bures_metric.from_euclidean": (bures_metric.from_euclidean, MU.cov, DV),
    "bures_metric.inner": (bures_metric.inner, MU, V, W),
    "bures_metric.sq_tangent_norm": (bures_metric.sq_tangent_norm, MU, V),
    "bures_metric.sq_distance": (bures_metric.sq_distance, MU, NU),
    "bures_metric.sq_distance, equal eigenvalues": (
        bures_metric.sq_distance,
        Gaussian(np.ones(3), np.eye(3)),
        Gaussian(np.full(3, 2.0), np.diag([4.0, 4.0, 9.0])),
    ),
    "bures_metric.pairwise_sq_distance": (bures_metric.pairwise_sq_distance, MU, NU),
    "bures_metric.pairwise_sq_distance, d = 2": (bures_metric.pairwise_sq_distance, FLAT, FLAT),
    "bures_metric.rows_per_block": (bures_metric.rows_per_block, NU),
    "bures_metric.factored_sq_distance": (
        bures_metric.factored_sq_distance,
        MU.mean,
        MU.cov,
        NU.mean,
        NU.cov,
    ),
    "clouds.even": (clouds.even, WX.weights),
    "clouds.alike": (clouds.alike, X, Y),
    "clouds.in_order": (clouds.in_order, X, Y),
    "clouds.all_even": (clouds.all_even, X, WX),
    "clouds.uniform": (clouds.uniform, X.points),
    "clouds.pad": (lambda x, y: clouds.pad([x, y]), X.points[0], WY.points[0]),
    "clouds.unpad": (clouds.unpad, WX),
    "clouds.grid_spacing": (lambda: clouds.grid_spacing(np.asarray([0.0, 0.5, 2.0])),),
    "clouds.sizes": (clouds.sizes, WX),
    "clouds.moments": (clouds.moments, WX.points, WX.weights),
    "conditional.gradient_half_sq_distance": (conditional.gradient_half_sq_distance, MU, NU),
    "conditional.premetric_velocity": (
        conditional.premetric_velocity,
        MU,
        np.array([1.0, 2.0, 3.0]),
        V,
        INSIDE,
    ),
    "conditional.conditional_velocity": (conditional.conditional_velocity, MU, NU, INSIDE),
    "conditional.marginal_velocity": (
        conditional.marginal_velocity,
        MU,
        NU,
        _weights(3, 3),
        _random(3, 3),
        INSIDE,
    ),
    "couplings.costs.pairwise_frechet": (costs.pairwise_frechet, X, Y),
    "couplings.costs.pairwise_chamfer_cost": (costs.pairwise_chamfer_cost, X, Y),
    "couplings.costs.pairwise_sq_wasserstein2": (partial(costs.pairwise_sq_wasserstein2, n_jobs=1), WX, WY),
    "couplings.inner.couple, exact": (
        lambda x, y: inner.couple(x, y, "exact", rng=rng(), solve=tight),
        WX,
        WY,
    ),
    "couplings.inner.couple, entropic": (
        lambda x, y: inner.couple(x, y, "entropic", rng=rng(), solve=tight),
        X,
        Y,
    ),
    "couplings.inner.couple, sliced": (
        lambda x, y: inner.couple(x, y, "sliced", rng=rng(), solve=tight, n_proj=3),
        X,
        Y,
    ),
    "couplings.members.lift": (members.lift, _random(4, 3)),
    "couplings.members.lifted_costs": (
        lambda u, v: members.lifted_costs(u, members.lift(v))(0, 4),
        _random(2, 3),
        _random(4, 3),
    ),
    "couplings.members.gaussian_costs": (lambda mu, nu: members.gaussian_costs(mu, nu)(0, 3), MU, NU),
    "couplings.members.vectors_of": (members.vectors_of, X),
    "couplings.members.vectors_of, sorted": (members.vectors_of, X, THETA),
    "couplings.outer.match_minibatch": (outer.match_minibatch, MU, NU),
    "couplings.outer.outer_plan": (outer.outer_plan, COST[0]),
    "couplings.outer.outer_plan, eps": (partial(outer.outer_plan, eps=0.5), COST[0]),
    "couplings.outer.outer_pairs": (outer.outer_pairs, SQUARE[0]),
    "couplings.outer.match_clouds": (
        lambda x, y: outer.match_clouds(x, y, "sliced", rng=rng(), n_proj=3),
        X,
        Y,
    ),
    "couplings.rectified.rectified_pairs": (partial(rectified.rectified_pairs, drift, n_steps=2), WX),
    "couplings.rectified.rectified_pairs, Gaussians": (
        partial(rectified.rectified_pairs, gaussian_drift, n_steps=2),
        MU,
    ),
    "generation.exponential_step": (lambda mu, v: generation.exponential_step(mu, v, 0.25), MU, V),
    "generation.projected_euler_step": (lambda mu, v: generation.projected_euler_step(mu, v, 0.1), MU, DV),
    "generation.bound_velocity": (generation.bound_velocity, V, 0.5),
    "generation.time_steps": (lambda: generation.time_steps(2, "late"),),
    "generation.generate": (partial(generation.generate, gaussian_drift, n_steps=2), MU),
    "generation.generate_clouds": (partial(generation.generate_clouds, drift, n_steps=2, method="heun"), WX),
    "interpolation.displacement": (interpolation.displacement, X.points, Y.points, CLOUD_T),
    "interpolation.displacement_velocity": (interpolation.displacement_velocity, X.points, Y.points),
    "measures.take": (lambda mu: measures.take(mu, np.array([2, 0])), MU),
    "measures.rescale": (lambda mu: measures.rescale(mu, 3.0), MU),
    "metrics.distances.chamfer": (distances.chamfer, WX, WY),
    "metrics.distances.pairwise_chamfer": (partial(distances.pairwise_chamfer, n_jobs=1), WX, WY),
    "metrics.distances.pairwise_emd": (partial(distances.pairwise_emd, squared=True, n_jobs=1), WX, WY),
    "metrics.distances.compare_families": (
        lambda x, y: distances.compare_families(
            distances.pairwise_chamfer, generated=x, reference=y, n_jobs=1
        ),
        WX,
        WY,
    ),
    "metrics.distances.host_families": (lambda x: distances.host_families(x=x), WX),
    "metrics.copying.copy_rate": (copying.copy_rate, np.array([0.5, 2.0, 0.25]), np.array([1.0, 0.6, 3.0])),
    "metrics.copying.profiles": (partial(copying.profiles, levels=4), WX, THETA),
    "metrics.nearest_gaussians.nearest": (nearest_gaussians.nearest, MU, NU),
    "metrics.neighbours.nearest_clouds": (
        lambda x, y: neighbours.nearest_clouds(x, y, squared=True, rng=rng(), n_jobs=1),
        WX,
        WY,
    ),
    "metrics.neighbours.one_nn_accuracy_emd": (
        lambda x, y: neighbours.one_nn_accuracy_emd(
            generated=x, reference=y, squared=True, rng=rng(), n_jobs=1
        ),
        WX,
        WY,
    ),
    "metrics.statistics.one_nn_accuracy": (statistics.one_nn_accuracy, DISTANCES),
    "metrics.statistics.same_family": (
        lambda index, like: statistics.same_family(index, generated=2, dtype=like.dtype),
        np.array([1, 2, 3, 0]),
        LIKE,
    ),
    "metrics.statistics.coverage": (statistics.coverage, DISTANCES),
    "metrics.statistics.covered": (
        lambda index, like: statistics.covered(index, reference=4, dtype=like.dtype),
        np.array([1, 2, 3, 1]),
        LIKE,
    ),
    "metrics.statistics.minimum_matching_distance": (statistics.minimum_matching_distance, DISTANCES),
    "metrics.statistics.k_nearest": (partial(statistics.k_nearest, k=2), COST[0]),
    "metrics.statistics.label_accuracy": (
        statistics.label_accuracy,
        np.array([0, 1]),
        np.array([3, 4]),
        np.array([3, 3]),
    ),
    "metrics.straightness.path_straightness": (
        straightness.path_straightness,
        _random(3, 2, 5, 2),
        WX.weights,
    ),
    "metrics.straightness.relative_bend": (
        straightness.relative_bend,
        np.array([1.0, 0.5]),
        np.array([1.0, 3.0]),
    ),
    "metrics.straightness.straightness": (partial(straightness.straightness, drift, n_steps=2), WX),
    "meta.hypernetwork.gaussian_start": (
        hypernetwork.gaussian_start,
        FLAT,
        oracles.random_gaussian(rng(), 3, 2),
        RIDGES,
    ),
    "meta.hypernetwork.hypernetwork": (with_pullback(hypernetwork.hypernetwork), HYPER, *FEATURES),
    "meta.hypernetwork.loss_and_grad": (
        hypernetwork.loss_and_grad,
        HYPER,
        *FEATURES,
        PAIR,
        X.points,
        Y.points,
    ),
    "meta.hypernetwork.predict": (
        lambda *given: hypernetwork.predict(*given)[0],
        HYPER,
        *FEATURES,
        PAIR,
    ),
    "meta.hypernetwork.summary": (hypernetwork.summary, COLOURS),
    "meta.icnn.gradient_map": (with_pullback(icnn.gradient_map), ICNN, X.points),
    "meta.icnn.hessian_product": (icnn.hessian_product, ICNN, X.points),
    "meta.icnn.n_parameters": (icnn.n_parameters,),
    "meta.icnn.potential": (with_pullback(icnn.potential), ICNN, X.points),
    "meta.icnn.potential_and_map": (lambda *given: icnn.potential_and_map(*given)[:2], ICNN, X.points),
    "meta.icnn.quadratic_parameters": (partial(icnn.quadratic_parameters, width=3), FLAT.cov, FLAT.mean),
    "meta.icnn.ravel": (icnn.ravel, ICNN),
    "meta.icnn.unravel": (partial(icnn.unravel, d=2, width=1), _random(2, 11)),
    "meta.monge.clamp_kernels": (monge.clamp_kernels, PICNN),
    "meta.monge.gaussian_quadratic": (monge.gaussian_quadratic, MU, NU),
    "meta.monge.map_loss_and_grad": (monge.map_loss_and_grad, PICNN, OTHER_PICNN, X.points, CONDITION),
    "meta.monge.negative_kernels": (monge.negative_kernels, PICNN),
    "meta.monge.potential_loss_and_grad": (
        monge.potential_loss_and_grad,
        PICNN,
        OTHER_PICNN,
        X.points,
        Y.points,
        CONDITION,
    ),
    "meta.picnn.along": (
        lambda *given: picnn.along(*given)[:2],
        PICNN,
        X.points,
        CONDITION,
        Y.points,
    ),
    "meta.picnn.identity_quadratic": (lambda like: picnn.identity_quadratic(2, like=like), LIKE),
    "meta.picnn.monge_map": (with_pullback(picnn.monge_map), PICNN, X.points, CONDITION),
    "meta.picnn.picnn": (with_pullback(picnn.picnn), PICNN, X.points, CONDITION),
    "meta.w2gn.conjugate": (partial(w2gn.conjugate, max_iter=3), ICNN, COLOURS),
    "meta.w2gn.dual_value": (partial(w2gn.dual_value, max_iter=3), ICNN, COLOURS, X.points),
    "meta.w2gn.identity_loss_and_grad": (w2gn.identity_loss_and_grad, PAIR, X.points),
    "meta.w2gn.normalised_dual_values": (w2gn.normalised_dual_values, _random(2, 3), _random(2, 2)),
    "meta.w2gn.transfer_colours": (w2gn.transfer_colours, ICNN, COLOURS),
    "meta.w2gn.w2gn_loss_and_grad": (w2gn.w2gn_loss_and_grad, PAIR, X.points, Y.points),
    "networks.activations.leaky_relu": (with_pullback(activations.leaky_relu), _random(2, 3)),
    "networks.activations.leaky_slope": (activations.leaky_slope, _random(2, 3)),
    "networks.activations.softplus": (with_pullback(activations.softplus), _random(2, 3)),
    "networks.attention.attention": (
        with_pullback(networks.attention),
        _random(2, 5, 3),
        _random(2, 5, 3),
        _random(2, 5, 2),
        MASK,
    ),
    "networks.attention.multi_head_attention": (
        with_pullback(partial(networks.multi_head_attention, heads=2)),
        HEADS,
        _random(2, 5, 4),
        MASK,
    ),
    "networks.bures_mlp.identity_scaling": (lambda like: networks.identity_scaling(2, like=like), LIKE),
    "networks.bures_mlp.bures_mlp": (with_pullback(networks.bures_mlp), BURES_MLP, SCALING, MU, T),
    "networks.bures_mlp.input_features": (networks.input_features, BURES_MLP, SCALING, MU, T),
    "networks.conditioning.embed_condition": (
        with_pullback(conditioning.embed_condition),
        TRANSFORMER,
        CLOUD_T,
        LABELS,
    ),
    "networks.conditioning.feature_embedding": (
        with_pullback(networks.feature_embedding),
        {"weight": _random(3, 2), "bias": _random(2), "none": _random(2)},
        _random(2, 3),
    ),
    "networks.conditioning.unlabelled": (networks.unlabelled, TRANSFORMER, LABELS),
    "networks.conditioning.guidance": (
        lambda v, w: networks.guidance(v, w, 0.5),
        _random(2, 3),
        _random(2, 3),
    ),
    "networks.features.grid_frequencies": (
        lambda like: networks.grid_frequencies([0.5, 0.0], like=like),
        LIKE,
    ),
    "networks.features.space_features": (networks.space_features, 0.2 * _random(2, 3), _random(2, 5, 2)),
    "networks.features.with_features": (
        lambda frequencies, x: networks.with_features({"frequencies": frequencies}, x, x),
        0.2 * _random(2, 3),
        _random(2, 5, 2),
    ),
    "networks.features.without_gradient": (
        lambda frequencies: without_gradient({"frequencies": frequencies}),
        0.2 * _random(2, 3),
    ),
    "networks.layers.dense": (with_pullback(networks.dense), DENSE, _random(2, 3)),
    "networks.layers.layer_norm": (with_pullback(networks.layer_norm), NORM, _random(2, 3)),
    "networks.layers.relu": (with_pullback(networks.relu), _random(2, 3)),
    "networks.layers.silu": (with_pullback(networks.silu), _random(2, 3)),
    "networks.layers.residual": (
        with_pullback(networks.residual(networks.dense)),
        {"weight": _random(3, 3), "bias": _random(3)},
        _random(2, 3),
    ),
    "networks.layers.fourier_features": (with_pullback(lambda t: networks.fourier_features(t, 2)), T),
    "networks.layers.label_embedding": (
        with_pullback(networks.label_embedding),
        {"table": _random(3, 2)},
        LABELS,
    ),
    "networks.layers.vech": (with_pullback(networks.vech), MU.cov),
    "networks.layers.unvech": (with_pullback(lambda v: networks.unvech(v, 2)), _random(2, 3)),
    "networks.mlp.block": (with_pullback(networks.block), MLP["blocks"]["0"], _random(2, 4)),
    "networks.mlp.mlp": (with_pullback(networks.mlp), MLP, _random(2, 3)),
    "networks.point_mlp.point_mlp": (
        with_pullback(partial(networks.point_mlp, heads=2, neighbours=2)),
        POINT_MLP,
        WX.points,
        MASK,
        CLOUD_T,
    ),
    "networks.point_mlp.surroundings": (partial(networks.surroundings, neighbours=2), WX.points, MASK),
    "networks.point_mlp.nearest_neighbours": (
        partial(networks.nearest_neighbours, neighbours=2),
        WX.points,
        MASK,
    ),
    "networks.transformer.transformer": (
        with_pullback(partial(networks.transformer, heads=2)),
        TRANSFORMER,
        WX.points,
        MASK,
        CLOUD_T,
        LABELS,
    ),
    "networks.transformer.transformer_block": (
        with_pullback(partial(networks.transformer_block, heads=2)),
        TRANSFORMER["blocks"]["0"],
        _random(2, 5, 4),
        _random(2, 7),
        MASK,
    ),
    "networks.transformer.feed_forward": (
        with_pullback(networks.feed_forward),
        TRANSFORMER["blocks"]["0"]["feed"],
        _random(2, 4),
    ),
    "objectives.riemannian_loss": (objectives.riemannian_loss, V, W, MU),
    "objectives.euclidean_loss": (objectives.euclidean_loss, DV, DW, MU),
    "objectives.frobenius_loss": (objectives.frobenius_loss, DV, DW, MU),
    "objectives.cloud_loss": (objectives.cloud_loss, X.points, Y.points, WX.weights),
    "evidence.decompose": (
        lambda cov: evidence.decompose(array_namespace(cov).linalg.eigvalsh, cov, "cov"),
        MU.cov,
    ),
    "evidence.from_spectrum": (
        evidence.from_spectrum,
        oracles.rotation(_DRAW, 3, 3),
        _DRAW.uniform(1.0, 2.0, (3, 3)),
    ),
    "evidence.eigh": (lambda cov: evidence.eigh(cov, "cov")[0], MU.cov),  # vectors have no sign
    "evidence.svd": (lambda matrix: evidence.svd(matrix, "matrix")[1], V.lift),
    "evidence.without_rounding": (evidence.without_rounding, A, np.array([[0.125], [0.25]])),
    "psd.deviations": (psd.deviations, _DRAW.uniform(1.0, 2.0, (3, 3))),
    "psd.lift_and_kernel": (psd.lift_and_kernel, _random(3, 3, 3), _random(3, 3, 3)),
    "psd.turned": (psd.turned, _random(3, 3, 3), _random(3, 3, 3)),
    "psd.factor": (lambda cov: _square(psd.factor(cov)), MU.cov),  # vectors have no sign
    "psd.sqrtm": (psd.sqrtm, MU.cov),
    "psd.inv_sqrtm": (psd.inv_sqrtm, MU.cov),
    "psd.project_psd": (psd.project_psd, V.lift),
    "psd.procrustes_factors": (
        lambda a, b: tuple(map(_square, psd.procrustes_factors(a, b))),
        MU.cov,
        NU.cov,
    ),
    "psd.solve_lift": (psd.solve_lift, _random(3, 3, 3), _random(3, 3, 3)),
    "psd.solve_lyapunov": (psd.solve_lyapunov, MU.cov, V.lift),
    "psd.nuclear_norm": (psd.nuclear_norm, _random(3, 3, 3)),
    "psd.nuclear_norm, d = 2": (psd.nuclear_norm, _random(3, 2, 2)),
    "sources.clouds.fit_cholesky_normal": (cloud_sources.fit_cholesky_normal, MU.cov),
    "sources.clouds.cholesky": (cloud_sources.cholesky, MU.cov),
    "sources.clouds.sample_cholesky_normal": (
        lambda mean, std: cloud_sources.sample_cholesky_normal(
            CholeskyNormal(mean, std), rng=rng(), sizes=SIZES
        ),
        np.tril(_random(2, 2)),
        np.tril(np.abs(_random(2, 2))),
    ),
    "sources.clouds.sample_standard_normal": (
        lambda like: cloud_sources.sample_standard_normal(rng=rng(), sizes=SIZES, d=2, like=like),
        LIKE,
    ),
    "sources.clouds.sample_uniform": (
        lambda like: cloud_sources.sample_uniform(rng=rng(), sizes=SIZES, d=2, like=like),
        LIKE,
    ),
    "sources.clouds.sample_pure_noise": (
        lambda like: cloud_sources.sample_pure_noise(
            PureNoise(1.0, 0.5, 2.0), rng=rng(), sizes=SIZES, d=2, like=like
        ),
        LIKE,
    ),
    "sources.clouds.sample_barycentric_noise": (
        lambda s: cloud_sources.sample_barycentric_noise(s, rng=rng(), sizes=SIZES, sigma=0.5),
        S,
    ),
    "sources.clouds.prefix_weights": (lambda sizes: cloud_sources.prefix_weights(sizes, 4), SIZES),
    "sources.gaussians.fit_gaussian_wishart": (gaussian_sources.fit_gaussian_wishart, MU),
    "sources.gaussians.sample_gaussian_wishart": (
        lambda mean, std, root: gaussian_sources.sample_gaussian_wishart(
            gaussian_sources.GaussianWishart(mean, std, root, df=4), rng=rng(), size=2
        ),
        _random(2),
        np.array([1.0, 2.0]),
        np.eye(2) + 0.1 * np.tril(_random(2, 2)),
    ),
    "sources.gaussians.sample_empirical": (
        lambda mu: gaussian_sources.sample_empirical(mu, rng=rng(), size=2),
        MU,
    ),
    "training.muon.orthogonalize": (muon.orthogonalize, _random(2, 3)),
    "training.muon.is_hidden": (lambda: muon.is_hidden("blocks/0/weight", np.ones((2, 2))),),
    "training.muon.muon": (
        lambda p, g, first, second: muon.muon(
            {"blocks": p},
            {"blocks": g},
            optim.AdamState({"blocks": first}, {"blocks": second}, 3),
            learning_rate=0.1,
        ),
        DENSE,
        DENSE,
        ADAM.first,
        ADAM.second,
    ),
    "training.optim.tree_map": (lambda tree: optim.tree_map(lambda leaf: 2.0 * leaf, tree), DENSE),
    "training.optim.tree_leaves": (optim.tree_leaves, DENSE),
    "training.optim.flatten": (optim.flatten, MLP),
    "training.optim.unflatten": (optim.unflatten, optim.flatten(MLP)),
    "training.optim.adam": (
        lambda p, g, first, second: optim.adam(p, g, optim.AdamState(first, second, 3), learning_rate=0.1),
        DENSE,
        DENSE,
        ADAM.first,
        ADAM.second,
    ),
    "training.optim.exponential_decay": (lambda: optim.exponential_decay(3, base=0.1),),
    "training.optim.warm_up_cosine": (lambda: optim.warm_up_cosine(3, base=0.1, warm_up=2, n_steps=9),),
    "training.optim.clip_by_global_norm": (lambda grads: optim.clip_by_global_norm(grads, 0.5), DENSE),
    "training.optim.ema": (lambda a, b: optim.ema(a, b, decay=0.75), DENSE, ADAM.second),
    "training.regression.gaussian_loss_and_grad": (
        lambda p, s, mu, v, t: regression.gaussian_loss_and_grad(
            p, s, GaussianBatch(mu, v, t, None), method="riemannian"
        ),
        BURES_MLP,
        SCALING,
        MU,
        V,
        T,
    ),
    "training.regression.cloud_velocity": (
        lambda p, x, mask, t, labels: regression.cloud_velocity(p, x, mask, t, labels, heads=2),
        TRANSFORMER,
        WX.points,
        WX.weights > 0,
        CLOUD_T,
        LABELS,
    ),
    "training.regression.cloud_loss_and_grad": (
        lambda p, x, w, v, t, labels: regression.cloud_loss_and_grad(
            p, CloudBatch(x, w, v, t, labels), heads=2
        ),
        TRANSFORMER,
        WX.points,
        WX.weights,
        X.points,
        CLOUD_T,
        LABELS,
    ),
    "transport._parallel.in_parallel": (lambda: _parallel.in_parallel(pow, [(2, 3)], n_jobs=1),),
    "transport._parallel.as_they_come": (lambda: list(_parallel.as_they_come(pow, [(2, 3)], n_jobs=1)),),
    "transport._parallel.each": (lambda: _parallel.each(pow, 1, 1, np.asarray([2]), np.asarray([3])),),
    "transport._parallel.members": (lambda: _parallel.members(np.zeros((2, 3)), 1).shape,),
    "transport.emd.cost_matrix": (partial(emd.cost_matrix, squared=True), WONE, WOTHER),
    "transport.emd.emd": (partial(emd.emd, squared=True), WONE, WOTHER),
    "transport.emd.exact_cost": (
        lambda cost, x, y: emd.exact_cost(cost, x, y, None),
        COST[0, :4, :3],
        WONE,
        WOTHER,
    ),
    "transport.duals.dual": (duals.dual, COST[0], A[0], B[0], F[0]),
    "transport.duals.warm_assignment": (duals.warm_assignment, SQUARE[0], F[0][:4]),
    "transport.duals.quick_assignment": (lambda c: duals.quick_assignment(c, 2.0), SQUARE[0]),
    "transport.duals.rough_potential": (duals.rough_potential, SQUARE[0], np.full(4, 0.25), np.full(4, 0.25)),
    "transport.emd.random_frames": (lambda: emd.random_frames(2, rng=rng(), count=2),),
    "transport.emd.frame_bounds": (
        lambda x, y, frames: emd.frame_bounds([x], [y], frames, squared=True),
        WONE,
        WOTHER,
        np.eye(2)[None],
    ),
    "transport.emd.quantile_cells": (emd.quantile_cells, WONE.points, WONE.weights, np.eye(2)),
    "transport.entropic.extend_potential": (
        partial(entropic.extend_potential, eps=0.5),
        QUERY,
        WY.points,
        WY.weights,
        G,
    ),
    "transport.entropic.entropic_map": (
        partial(entropic.entropic_map, eps=0.5),
        QUERY,
        WY.points,
        WY.weights,
        G,
    ),
    "transport.entropic.debiased_entropic_map": (
        partial(entropic.debiased_entropic_map, eps=0.5),
        QUERY,
        WX,
        WY,
        G,
        F,
    ),
    "transport.entropic.barycentric_projection": (entropic.barycentric_projection, PLAN, WY.points),
    "transport.entropic.epsilon_schedule": (lambda: entropic.epsilon_schedule(32, 1),),
    "transport.entropic.sinkhorn_divergence": (
        partial(entropic.sinkhorn_divergence, eps=2.0, tol=None, max_iter=40),
        WX,
        WY,
    ),
    "transport.exact.assignment": (partial(exact.assignment, n_jobs=1), SQUARE),
    "transport.exact.transport_plan": (partial(exact.transport_plan, n_jobs=1), COST, A, B),
    "transport.exact.sq_wasserstein2": (partial(exact.sq_wasserstein2, n_jobs=1), WX, WY),
    "transport.exact.sq_wasserstein2, assignment": (partial(exact.sq_wasserstein2, n_jobs=1), X, Y),
    "transport.exact.sq_wasserstein2, d = 1": (exact.sq_wasserstein2, LX, LY),
    "transport.families.even_family": (families.even_family, WX),
    "transport.families.sq_wow_distance": (partial(families.sq_wow_distance, n_jobs=1), M, N),
    "transport.families.independent_plan": (families.independent_plan, WX, WY),
    "transport.families.optimal_plan": (families.optimal_plan, WX, WY),
    "transport.families.random_coupling": (
        lambda mu, nu, plan: families.random_coupling(mu, nu, plan, families.independent_plan),
        M,
        N,
        M.weights[:, None] * N.weights,
    ),
    "transport.families.membership_error": (families.membership_error, COUPLING, M, N),
    "transport.families.sq_coupling_cost": (families.sq_coupling_cost, COUPLING, M, N),
    "transport.families.curve": (lambda c, mu, nu: families.curve(c, mu, nu, 0.25), COUPLING, M, N),
    "transport.fields.mean_displacement": (
        fields.mean_displacement,
        X.points,
        Y.points,
        WX.weights,
        CLOUD_T,
    ),
    "transport.fields.inner": (fields.inner, M, X.points, Y.points),
    "transport.fields.coupling_loss": (fields.coupling_loss, _random(4, 25, 2), COUPLING, M, N),
    "transport.gaussian_start.gaussian_potential": (gaussian_start.gaussian_potential, WX, WY),
    "transport.grid_displacement.displaced_histogram": (
        lambda plan, grid: grid_displacement.displaced_histogram(plan, grid, 0.375),
        GRID_A[:, :, None] * GRID_B[:, None],
        grids.Grid((np.array([1.0, 0.75, 0.25]), np.array([-0.25, 1.0]))),
    ),
    "transport.grid_displacement.axis_shares": (
        lambda axis: grid_displacement.axis_shares(axis, 0.375),
        np.array([1.0, 0.75, 0.25]),
    ),
    "transport.grids.unit_grid": (lambda x: grids.unit_grid((3, 2), like=x), GRID_F),
    "transport.grids.grid_points": (grids.grid_points, GRID),
    "transport.grids.axis_costs": (grids.axis_costs, GRID),
    "transport.grids.grid_softmin": (grids.grid_softmin, GRID, GRID_F, GRID_A, GRID_EPS),
    "transport.grids.is_flat": (
        lambda grid, f, eps: grids.is_flat(grids.axis_costs(grid), f, eps),
        GRID,
        GRID_F,
        np.array([0.3, 1e12]),
    ),
    "transport.grids.half_steps": (
        lambda c, a, b, f, g: tuple(
            half(p)
            for half, p in zip(
                grids.half_steps(grids.check_histograms(c, a, b, eps=0.5)), (f, g), strict=True
            )
        ),
        COST,
        A,
        B,
        F,
        G,
    ),
    "transport.grids.marginal": (grids.marginal, GRID_A, GRID_F, 0.5 * GRID_F, GRID_EPS),
    "transport.grids.grid_sinkhorn": (
        lambda grid, a, b: grids.grid_sinkhorn(grid, a, b, eps=0.5, tol=None, max_iter=40),
        GRID,
        GRID_A,
        GRID_B,
    ),
    "transport.linearized.align_to_reference": (partial(linearized.align_to_reference, n_jobs=1), S, ORDERED),
    "transport.linearized.align": (partial(linearized.align, n_jobs=1), S, ORDERED),
    "transport.linearized.reorder": (linearized.reorder, S, np.array([2, 0, 1, 4, 3])),
    "transport.linearized.sq_lazy_distance": (linearized.sq_lazy_distance, X.points, Y.points),
    "transport.linearized.pairwise_sq_lazy_distance": (
        linearized.pairwise_sq_lazy_distance,
        X.points,
        Y.points,
    ),
    "transport.linearized.sq_linearized_distance": (linearized.sq_linearized_distance, S, X, Y),
    "transport.linearized.pairwise_sq_linearized_distance": (
        linearized.pairwise_sq_linearized_distance,
        S,
        X,
        Y,
    ),
    "transport.plans.marginal_error": (plans.marginal_error, PLAN, A[[1, 0]], B[[1, 0]]),
    "transport.plans.argmax_matching": (plans.argmax_matching, LOG_PLAN),
    "transport.plans.greedy_rounding_sequential": (plans.greedy_rounding_sequential, LOG_PLAN),
    "transport.plans.greedy_rounding": (plans.greedy_rounding, LOG_PLAN),
    "transport.plans.sample_pairs": (lambda plan: plans.sample_pairs(plan, 3, rng=rng()), PLAN),
    "transport.plans.sample_pairs, no replacement": (
        lambda plan: plans.sample_pairs(plan, 3, rng=rng(), replace=False),
        0.25 * np.eye(4)[:, [2, 0, 1, 3]],
    ),
    "transport.plans.sample_targets": (lambda plan: plans.sample_targets(plan, rng=rng()), PLAN),
    "transport.problem.cost_scale": (lambda c, a, b: problem.cost_scale(c, a, b, "mean"), COST, A, B),
    "transport.problem.clear_padding": (problem.clear_padding, COST, WX.weights, WY.weights),
    "transport.problem.clear_points": (problem.clear_points, WX.points, WX.weights),
    "transport.problem.log_weights": (problem.log_weights, A),
    "transport.programme.assign": (programme.assign, SQUARE[0]),
    "transport.programme.best_assignment": (lambda c: programme.best_assignment(c, 2.0), SQUARE[0]),
    "transport.programme.blocks": (programme.blocks, COST[0]),
    "transport.programme.least_entries": (programme.least_entries, COST[0]),
    "transport.programme.mean_cost": (programme.mean_cost, A[0]),
    "transport.programme.power_of_two": (lambda: programme.power_of_two(3.0),),
    "transport.programme.prove": (programme.prove, COST[0], A[0], B[0], PLAN[0], F[0], G[0]),
    "transport.programme.solve": (partial(programme.solve, max_iter=1000), COST[0], A[0], B[0]),
    "transport.quantiles.quantile_coupling": (quantiles.quantile_coupling, LINE, A[0], LINE[:4] + 0.1, B[0]),
    "transport.quantiles.line_cost": (
        lambda x, a, y, b: quantiles.line_cost(quantiles.sort_measure(x, a), quantiles.sort_measure(y, b)),
        LX.points[..., 0],
        LX.weights,
        LY.points[..., 0],
        LY.weights,
    ),
    "transport.quantiles.sort_measure": (quantiles.sort_measure, LINE, A[0]),
    "transport.quantiles.order_and_levels": (quantiles.order_and_levels, LX.points[..., 0], LX.weights),
    "transport.quantiles.intervals": (quantiles.intervals, LX.points[..., 0], LX.weights),
    "transport.quantiles.atom_at_level": (
        lambda level, last, wanted, offset: quantiles.atom_at_level(level, last, wanted, offset=offset),
        np.array([0.25, 0.5, 1.0]),
        np.array([2]),
        np.array([0.3]),
        np.array([0]),
    ),
    "transport.quantiles.meet": (
        lambda x, a, y, b: quantiles.meet(quantiles.sort_measure(x, a), quantiles.sort_measure(y, b)),
        LINE,
        A[0],
        LINE[:4] + 0.1,
        B[0],
    ),
    "transport.quantiles.last_atom": (quantiles.last_atom, WX.weights),
    "transport.reference.free_support_barycenter": (
        partial(reference.free_support_barycenter, n_jobs=1),
        ORDERED,
    ),
    **{
        f"transport.semidual.{function.__name__}": (partial(function, eps=0.5), F, COST, A, B)
        for function in (
            semidual.semidual_value,
            semidual.kl_dual_value,
            semidual.semidual_gradient,
            semidual.semidual_value_and_gradient,
        )
    },
    "transport.semidiscrete.assign": (semidiscrete.assign, G, COST),
    **{
        f"transport.semidiscrete.{function.__name__}{suffix}": (partial(function, eps=eps), G, COST, B)
        for function in (
            semidiscrete.semidiscrete_value,
            semidiscrete.semidiscrete_gradient,
            semidiscrete.semidiscrete_value_and_gradient,
        )
        for suffix, eps in (("", 0.0), (", eps", 0.5))
    },
    "transport.shares.marginal_error": (
        lambda b: shares.marginal_error(np.array([0, 2, 2, 1]), b),
        B[0],
    ),
    "transport.shares.chance_error": (lambda b: shares.chance_error(b, 5), B[0]),
    "transport.semidiscrete.fit_semidiscrete": (
        lambda cost, b: semidiscrete.fit_semidiscrete(
            lambda rng: cost, b, rng=rng(), max_iter=3, require=False
        ),
        COST[0],
        B[0],
    ),
    "transport.semidual.to_product_convention": (partial(semidual.to_product_convention, eps=0.5), F, A),
    "transport.sinkhorn.sq_euclidean_cost": (sinkhorn.sq_euclidean_cost, X.points, WY.points),
    "transport.sinkhorn.sinkhorn": (tight, COST, A, B),
    "transport.sinkhorn.iterate": (
        lambda c, a, b: sinkhorn.iterate(
            problem.check_problem(c, a, b, eps=1.0), tol=None, max_iter=40, require=False
        ),
        COST,
        A,
        B,
    ),
    "transport.sinkhorn.softmin": (
        sinkhorn.softmin,
        COST,
        G,
        B,
        np.array([0.5, 0.5]),
    ),
    "transport.sinkhorn.marginal_errors": (
        lambda c, a, b, f, g: sinkhorn.marginal_errors(problem.check_problem(c, a, b, eps=0.3), f, g),
        COST,
        A,
        B,
        F,
        G,
    ),
    "transport.sinkhorn.certified": (
        lambda c, a, b: sinkhorn.certified(tight(c, a, b), tol=1e-3, require=True),
        COST,
        A,
        B,
    ),
    "transport.point_problem.cut": (lambda: point_problem.cut(5, 2),),
    "transport.point_problem.block_side": (
        lambda x, y: point_problem.block_side(x, y, None),
        WX.points,
        WY.points,
    ),
    "transport.point_problem.live": (
        lambda a, b: point_problem.live(a, b, slice(1, 3), slice(0, 2)),
        WX.weights,
        WY.weights,
    ),
    "transport.point_problem.streamed_scale": (
        lambda *given: point_problem.streamed_scale(*given, "mean", block=2),
        *GIVEN,
    ),
    "transport.point_problem.streamed_scale, max": (
        lambda *given: point_problem.streamed_scale(*given, "max", block=2),
        *GIVEN,
    ),
    "transport.streaming.streamed_softmin": (
        partial(streaming.streamed_softmin, block=3),
        QUERY,
        WY.points,
        G,
        WY.weights,
        np.array([0.5, 2.0]),
    ),
    "transport.streaming.sinkhorn_points": (
        partial(streaming.sinkhorn_points, eps=1.0, tol=None, max_iter=40, block=3),
        *GIVEN,
    ),
    "transport.streaming.streamed_marginal_errors": (
        lambda x, y, a, b, f, g: streaming.streamed_marginal_errors(
            point_problem.check_point_problem(x, y, a, b, eps=2.0), f, g, block=3
        ),
        *GIVEN,
        F,
        G,
    ),
    "transport.streamed_plans.streamed_transport_cost": (
        _streamed(streamed_plans.streamed_transport_cost),
        *GIVEN,
    ),
    "transport.streamed_plans.streamed_dual_value": (_streamed(streamed_plans.streamed_dual_value), *GIVEN),
    "transport.streamed_plans.streamed_entropic_map": (
        partial(streamed_plans.streamed_entropic_map, eps=0.5, block=3),
        QUERY,
        WY.points,
        WY.weights,
        G,
    ),
    "transport.streamed_plans.sample_streamed_targets": (
        _streamed(
            lambda *given, block: streamed_plans.sample_streamed_targets(*given, rng=rng(), block=block)
        ),
        *GIVEN,
    ),
    "interop.to_pot": (partial(interop.to_pot, eps=1.0), _random(2, 5), _random(2, 5), A, A),
    "interop.from_pot": (partial(interop.from_pot, eps=1.0), _random(2, 5), _random(2, 5), A, A),
    "interop.to_ott": (partial(interop.to_ott, eps=1.0), _random(2, 5), _random(2, 5), A, A),
    "interop.from_ott": (partial(interop.from_ott, eps=1.0), _random(2, 5), _random(2, 5), A, A),
    "interop.to_geomloss": (partial(interop.to_geomloss, eps=1.0), _random(4), _random(3)),
    "interop.from_geomloss": (partial(interop.from_geomloss, blur=1.0), _random(4), _random(3)),
    "interop.entropy_value": (partial(interop.entropy_value, eps=1.0), _random(2), A, A),
    "transport.sinkhorn.log_plan": (lambda c, a, b: sinkhorn.log_plan(c, a, b, tight(c, a, b)), COST, A, B),
    "transport.sinkhorn.plan": (lambda c, a, b: sinkhorn.plan(c, a, b, tight(c, a, b)), COST, A, B),
    "transport.sinkhorn.transport_cost": (
        lambda c, a, b: sinkhorn.transport_cost(c, a, b, tight(c, a, b)),
        COST,
        A,
        B,
    ),
    "transport.sinkhorn.dual_value": (
        lambda c, a, b: sinkhorn.dual_value(c, a, b, tight(c, a, b)),
        COST,
        A,
        B,
    ),
    "transport.sliced.random_directions": (
        lambda x: sliced.random_directions(x, rng=rng(), n_proj=3),
        X.points,
    ),
    "transport.sliced.sq_sliced_distance": (sliced.sq_sliced_distance, WX, WY, THETA),
    "transport.sliced.sliced_cost": (partial(sliced.sliced_cost, p=1.0), WX, WY, THETA),
    "transport.sliced.pairwise_sliced_cost": (sliced.pairwise_sliced_cost, X, Y, THETA),
    "transport.sliced.lifted_plan": (sliced.lifted_plan, WX, WY, THETA),
    "transport.sliced.sorted_permutations": (sliced.sorted_permutations, X, Y, THETA),
    "transport.sliced.sample_sliced_pairs": (
        lambda x, y, theta: sliced.sample_sliced_pairs(x, y, theta, rng=rng(), size=3),
        WX,
        WY,
        THETA,
    ),
    "transport.sphere.spherical_cost": (
        sphere.spherical_cost,
        np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]),
        np.array([[0.0, 1.0, 0.0], [0.8, 0.0, -0.6]]),
    ),
    "transport.stability.stability_radius": (stability.stability_radius, S, ORDERED),
    "transport.stability.stability_radius_bound": (stability.stability_radius_bound, S, ORDERED),
    "transport.stability.assignment_gap": (stability.assignment_gap, S, ORDERED),
    "transport.stability.laziness_report": (
        lambda s, x: stability.laziness_report(s, x, sigma=0.1, rng=rng(), size=4, n_jobs=1),
        S,
        ORDERED,
    ),
    "transport.starts.zero_potential": (starts.zero_potential, WX, WY),
    "transport.starts.start_potential": (lambda x, y: starts.start_potential("gaussian", x, y), WX, WY),
    "transport.starts.usable_start": (partial(starts.usable_start, eps=0.5), F, COST, A, B),
    "transport.starts.warm_sinkhorn": (
        lambda c, a, b, f: starts.warm_sinkhorn(c, a, b, f, eps=1.0, tol=None, max_iter=40),
        COST,
        A,
        B,
        F,
    ),
    "transport.starts.error_curve": (
        lambda c, a, b, f: starts.error_curve(c, a, b, eps=0.5, n_iter=2, f_init=f),
        COST,
        A,
        B,
        F,
    ),
    "transport.starts.iterations_to": (
        lambda e: starts.iterations_to(e, 0.25),
        np.array([[1.0], [0.3], [0.2]]),
    ),
    "meta.potentials.potential_mlp": (
        lambda params, a, b: with_pullback(lambda a, b: potentials.potential_mlp(params, a, b))(a, b),
        POTENTIAL,
        A,
        B,
    ),
    "meta.potentials.amortisation_loss": (
        partial(potentials.amortisation_loss, eps=0.5),
        POTENTIAL,
        A,
        B,
        COST[0],
    ),
    "meta.potentials.loss_and_grad": (partial(potentials.loss_and_grad, eps=0.5), POTENTIAL, A, B, COST[0]),
    "meta.potentials.unmasked_value_and_gradient": (
        partial(potentials.unmasked_value_and_gradient, eps=0.5),
        F,
        COST,
        A,
        B,
    ),
    "meta.cloud_potentials.cloud_potential": (
        lambda params, x, y: with_pullback(
            lambda x, y: cloud_potentials.cloud_potential(params, x, y, eps=0.5)
        )(x, y),
        CLOUD_POTENTIAL,
        WX,
        WY,
    ),
    "meta.cloud_potentials.cloud_loss_and_grad": (
        partial(cloud_potentials.cloud_loss_and_grad, eps=0.5),
        CLOUD_POTENTIAL,
        WX,
        WY,
    ),
    "meta.cloud_potentials.standardized": (cloud_potentials.standardized, WX, WY),
    # Floors of populations
    "populations.floors.identity": (floors.identity, S),
    "populations.floors.mean_shift": (
        lambda x0, means, w: floors.mean_shift(x0, means, weights=w),
        WX.points,
        S,
        WX.weights,
    ),
    "populations.floors.mean_shift_by_condition": (
        lambda x0, means: floors.mean_shift_by_condition(
            x0, _one_hot([0, 1], x0), means, _one_hot([0, 1, 1, 0, 1], x0)
        ),
        WX.points,
        S,
    ),
    "populations.floors.ideal_shift": (
        lambda x0, x1, w: floors.ideal_shift(x0, x1, weights=w),
        WX.points,
        Y.points,
        WX.weights,
    ),
    "populations.floors.unread_floor": (floors.unread_floor, COST[0, :, :2], S),
}

GCN = _filled(embedding.init_population_embedding(_DRAW, 2, like=LIKE, width=4, depth=2, marks=1))
PARTICLES, MARKS, LIVE = _random(2, 5, 2), _random(2, 5, 1), np.arange(5) < np.array([[5], [4]])
GRAPH = graphs.knn_graph(PARTICLES, 2, LIVE)
FIELD = {"n_embedding": 4, "width": 5, "depth": 2, "n_time": 4, "n_space": 3, "space_scale": 0.1}
FIELD = _filled(
    velocity.init_velocity(_DRAW, 2, like=LIKE, n_condition=3, attention=4, heads=2, n_particle=4, **FIELD)
)
TOLD = embedding.Told(_random(2, 4), PARTICLES, _random(2, 5, 4), LIVE)
PATHS = objective.ParticleBatch(
    _random(2, 3, 2),
    _random(2, 3, 2),
    _DRAW.uniform(0.0, 1.0, (2, 3)),
    None,
    CONDITION,
    objective.Population(PARTICLES, GRAPH, MARKS, LIVE),
)

CALLS |= {
    "networks._order.in_order": (lambda: _order.in_order({"1": 2.0, "0": 3.0})[0][1],),
    "networks.activations.selu": (with_pullback(activations.selu), _random(2, 3)),
    "populations.graphs.knn_graph": (lambda x, mask: graphs.knn_graph(x, 2, mask), PARTICLES, LIVE),
    "populations.graphs.neighbour_mean": (with_pullback(graphs.neighbour_mean), _random(2, 5, 3), GRAPH),
    "populations.graphs.averaging": (lambda z, graph: graphs.averaging(graph)(z)[0], _random(2, 5, 3), GRAPH),
    "populations.embedding.encode_particles": (
        lambda *given: with_pullback(embedding.encode_particles)(*given[:-1], mask=given[-1]),
        GCN,
        PARTICLES,
        GRAPH,
        MARKS,
        LIVE,
    ),
    "populations.embedding.population_embedding": (
        lambda *given: with_pullback(embedding.population_embedding)(*given[:-1], mask=given[-1]),
        GCN,
        PARTICLES,
        GRAPH,
        MARKS,
        LIVE,
    ),
    "populations.embedding.tell": (lambda *given: embedding.tell(*given)[0], GCN, PARTICLES, GRAPH, MARKS),
    "populations.embedding.unit_norm": (with_pullback(embedding.unit_norm), _random(2, 3)),
    "populations.velocity.time_features": (lambda t: velocity.time_features(t, 6), T),
    "populations.velocity.velocity": (
        lambda params, x, t, h, c, told: velocity.velocity(
            params, x, t, h, c, n_time=4, heads=2, population=told
        )[0],
        FIELD,
        *PATHS[:1],
        PATHS.t,
        TOLD.h,
        CONDITION,
        TOLD,
    ),
    "populations.readout.attention_readout": (
        with_pullback(partial(readout.attention_readout, heads=2)),
        FIELD["readout"],
        _random(2, 3, 12),
        *TOLD[1:],
    ),
    "populations.kernels.kernel_readout": (
        partial(kernels.kernel_readout, bandwidths=(0.5, 2.0)),
        _random(2, 3, 2),
        PARTICLES,
    ),
    "populations.pairs.linear_path": (pairs.linear_path, *PATHS[:3]),
    "populations.pairs.start_points": (lambda x: pairs.start_points(x, "noise", rng=rng()), PARTICLES),
    "populations.pairs.optimal_pairs": (
        lambda x, y: pairs.optimal_pairs(x, y, 6, rng=rng()),
        PARTICLES,
        _random(2, 4, 2),
    ),
    "populations.pairs.indicators": (lambda like: pairs.indicators([2, 0], 3, like=like), LIKE),
    "populations.objective.flow_matching_loss": (objective.flow_matching_loss, *PATHS[:2]),
    "populations.objective.flow_matching_loss_without_constant": (
        objective.flow_matching_loss_without_constant,
        *PATHS[:2],
    ),
    "populations.objective.loss_and_grad": (
        partial(objective.loss_and_grad, n_time=4, heads=2),
        {"velocity": FIELD, "embedding": GCN},
        PATHS,
    ),
}
for _name in embedding.POOLING:
    CALLS[f"populations.embedding.pool, {_name}"] = (
        lambda z, mask, name=_name: with_pullback(partial(embedding.pool, pooling=name))(z, mask),
        _random(2, 5, 3),
        LIVE,
    )
_WIDTHS = {"sigma": 0.75, "tau": 0.25}
CALLS |= {
    "metrics.populations.wasserstein1": (population_metrics.wasserstein1, X.points, WY.points),
    "metrics.populations.wasserstein2": (population_metrics.wasserstein2, X.points, Y.points),
    "metrics.populations.sq_mmd": (population_metrics.sq_mmd, X.points, WY.points),
    "metrics.populations.feature_correlation": (population_metrics.feature_correlation, COST[0], COST[1]),
    "populations.oracles.denoising_velocity": (
        lambda x, t, c, w: population_oracles.denoising_velocity(x, t, c, weights=w, **_WIDTHS),
        *(X.points, CLOUD_T, WY.points, B),
    ),
    "populations.oracles.denoising_variance": (
        lambda x, t, c, w: population_oracles.denoising_variance(x, t, c, weights=w, **_WIDTHS),
        *(X.points, CLOUD_T, WY.points, B),
    ),
    "populations.oracles.sample_mixture": (
        lambda c, w: population_oracles.sample_mixture(c, rng=rng(), size=3, tau=0.25, weights=w),
        *(X.points, A),
    ),
    "populations.oracles.gaussian_denoising_velocity": (
        lambda x, t, mu: population_oracles.gaussian_denoising_velocity(x, t, mu, sigma=0.75),
        *(FEATURES[:1], T, MU),
    ),
    "populations.oracles.gaussian_denoising_map": (
        lambda x, mu, t: population_oracles.gaussian_denoising_map(x, mu, sigma=0.75, t=t),
        *(FEATURES[:1], MU, T),
    ),
    "populations.flow.integrate": (
        lambda x: flow.integrate(lambda x, t: 0.5 * x + t[:, None, None], x, n_steps=2),
        X.points,
    ),
    "populations.flow.integrate_adaptively": (
        lambda x: flow.integrate_adaptively(lambda x, t: 0.5 * x + t[:, None, None], x).points,
        X.points,
    ),
}

for _name in costs.COSTS:
    CALLS[f"couplings.costs.outer_cost, {_name}"] = (
        lambda x, y, name=_name: costs.outer_cost(x, y, name, rng=rng(), n_proj=3),
        X,
        Y,
    )


HOST = (
    "clouds.pad",
    "metrics.statistics.label_accuracy",
    "sources.clouds.prefix_weights",
    *(
        name
        for name in CALLS
        if name.startswith(("transport.duals.", "transport.emd.", "transport.programme."))
    ),
)
ON_HOST = (
    "clouds.unpad",
    "couplings.outer.match_minibatch",
    "couplings.outer.outer_pairs",
    "couplings.outer.match_clouds",
    "metrics.distances.pairwise_chamfer",
    "metrics.distances.pairwise_emd",
    "metrics.distances.compare_families",
    "metrics.distances.host_families",
    "metrics.neighbours.nearest_clouds",
    "metrics.neighbours.one_nn_accuracy_emd",
    "metrics.statistics.k_nearest",
    "transport.exact.assignment",
    "transport.stability.laziness_report",
)
INDEX_ON_HOST = ("metrics.nearest_gaussians.nearest", "sources.gaussians.sample_empirical")

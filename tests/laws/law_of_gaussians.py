"""Records of the functions of Gaussians: Bures-Wasserstein geometry, flows, losses, sources."""

import numpy as np
from law_kinds import (
    Kind,
    euclidean_tangent,
    gaussian,
    index,
    number,
    points,
    positive,
    tangent,
    time,
    vectors,
    weights,
)
from law_record import UNIQUE, record

from refwfm import (
    barycenter,
    bures,
    bures_metric,
    conditional,
    evidence,
    generation,
    measures,
    objectives,
    psd,
)
from refwfm.barycenter import Barycenter
from refwfm.bures_metric import EuclideanTangent, Tangent
from refwfm.couplings import outer
from refwfm.generation import Generated
from refwfm.metrics import nearest_gaussians
from refwfm.metrics.nearest_gaussians import Nearest
from refwfm.sources import clouds as cloud_sources
from refwfm.sources import gaussians as sources
from refwfm.sources.clouds import CholeskyNormal
from refwfm.sources.gaussians import GaussianWishart

PAIR = {"mu": gaussian(), "nu": gaussian()}
MOVING = PAIR | {"t": time}
MATRIX = Kind("bdd", 0)

# Distances
record(bures_metric.sq_distance, PAIR, number("b", 2), swap="mu nu", metric=2)
ALL_PAIRS = {"mu": gaussian("q"), "nu": gaussian("r")}
record(bures_metric.pairwise_sq_distance, ALL_PAIRS, number("qr", 2), swap="mu nu", pair="qr", metric=2)
# Factors have columns of their own: only rows turn with the data.
FACTOR = Kind("bdT", 1)
FACTORED = {"m": points("bd"), "factor0": FACTOR, "n": points("bd"), "factor1": FACTOR}
record(bures_metric.factored_sq_distance, FACTORED, number("b", 2), sizes={"T": (2, 4, 1)})
record(
    nearest_gaussians.nearest,
    {"generated": gaussian("q"), "reference": gaussian("k")},
    Nearest(number("q", 2), index("q", "k")),
    styles=UNIQUE,
)

# Maps and paths. A map from a singular Gaussian exists to some others only.
record(bures.gelbrich_map, PAIR, MATRIX, definite=True)
record(
    bures.push_forward,
    {"x": points("qd"), "mu": gaussian(""), "nu": gaussian("")},
    points("qd"),
    definite=True,
)
record(bures.log, PAIR, tangent(), definite=True)
record(bures.exp, {"mu": gaussian(), "v": tangent()}, gaussian())
# Between singular ones there may be several geodesics.
record(bures.interpolate, MOVING, gaussian(), swap="mu nu", definite=True)
record(bures.path, MOVING, (gaussian(), tangent(odd=True)), swap="mu nu", definite=True)
record(bures.velocity, MOVING, tangent(odd=True), swap="mu nu", definite=True)
EUCLIDEAN = euclidean_tangent(odd=True)
record(bures.euclidean_path, MOVING, (gaussian(), EUCLIDEAN), swap="mu nu", definite=True)
record(bures.euclidean_velocity, MOVING, EUCLIDEAN, swap="mu nu", definite=True)
# Definite ones are mapped onto singular and graded ones, which have no map back.
ONTO = {"mu": gaussian(sort="definite"), "nu": gaussian()}
LATE = ONTO | {"t": time}
SINGULAR = {"suffix": "onto singular", "ulps": 1e3}
record(bures.gelbrich_map, ONTO, MATRIX, **SINGULAR)
record(bures.log, ONTO, tangent(), **SINGULAR)
record(bures.interpolate, LATE, gaussian(), **SINGULAR)
record(bures.path, LATE, (gaussian(), tangent()), open_time=True, **SINGULAR)
record(bures.euclidean_path, LATE, (gaussian(), euclidean_tangent()), open_time=True, **SINGULAR)
record(conditional.conditional_velocity, LATE, tangent(), open_time=True, **SINGULAR)
record(bures_metric.to_euclidean, {"cov": gaussian().cov, "v": tangent()}, euclidean_tangent())
record(
    bures_metric.from_euclidean,
    {"cov": gaussian().cov, "v": euclidean_tangent()},
    tangent(),
    definite=True,
)
TANGENTS = {"mu": gaussian(), "u": tangent(), "v": tangent()}
record(bures_metric.inner, TANGENTS, number("b", 2), swap="u v")
record(bures_metric.sq_tangent_norm, {"mu": gaussian(), "v": tangent()}, number("b", 2))

# Conditional flows
record(conditional.gradient_half_sq_distance, PAIR, tangent(), definite=True)
record(
    conditional.premetric_velocity,
    {"mu": gaussian(), "distance": positive("b", 2), "gradient": tangent(), "t": time},
    tangent(),
    styles=UNIQUE,  # with a gradient, that is
    open_time=True,
)
record(conditional.conditional_velocity, MOVING, tangent(), definite=True, open_time=True)
record(
    conditional.marginal_velocity,
    {
        "mu": gaussian(),
        "targets": gaussian("k"),
        "weights": weights("k"),
        "log_density": number("bk"),
        "t": time,
    },
    tangent(),
    definite=True,
    open_time=True,
)

# Families
record(
    barycenter.barycenter,
    {"mu": gaussian("k"), "weights": weights("k")},
    Barycenter(gaussian(""), None, None, None),
    definite=True,
    ulps=1e5,  # where the iteration stops: a residual of about the root of machine epsilon at worst
)
record(
    measures.take,
    {"mu": gaussian("k"), "index": index("b", "k")},
    gaussian("b"),
    same=("kb",),
    without="nan",  # it need not be taken
    drawn={"index": lambda rng, shape: rng.integers(0, shape[0], shape)},
)
record(
    measures.rescale,
    {"mu": gaussian()},
    gaussian(),
    call=lambda mu: measures.rescale(mu, 0.5),
    without="shift",
)
record(
    outer.match_minibatch,
    {"mu": gaussian("i"), "nu": gaussian("j")},
    index("i", "j"),
    same=("ij",),
    styles=UNIQUE,
)

# Generation
STEP = {"mu": gaussian(), "v": tangent()}
record(
    generation.exponential_step,
    STEP,
    (gaussian(), number("b")),
    call=lambda mu, v: generation.exponential_step(mu, v, 0.5),
)
record(generation.bound_velocity, {"v": tangent(), "t": time}, tangent())
record(
    generation.projected_euler_step,
    {"mu": gaussian(), "v": euclidean_tangent()},
    (gaussian(), number("b", 2)),
    call=lambda mu, v: generation.projected_euler_step(mu, v, 0.5),
)
record(
    generation.generate,
    {"source": gaussian(), "target": gaussian()},
    Generated(gaussian(), number("b")),
    call=lambda source, target: generation.generate(
        lambda mu, t: conditional.conditional_velocity(mu, target, t), source, n_steps=2
    ),
    definite=True,
)

# Losses: a batch is a family, whose mean is taken
GRADIENT = Tangent(vectors("kd"), Kind("kdd", 2))
record(
    objectives.riemannian_loss,
    {"pred": tangent("k"), "target": tangent("k"), "mu_t": gaussian("k")},
    (number("", 2), GRADIENT),
)
RATES = {"pred": euclidean_tangent("k"), "target": euclidean_tangent("k"), "mu_t": gaussian("k")}
record(
    objectives.euclidean_loss,
    RATES,
    (number("", 2), EuclideanTangent(vectors("kd"), Kind("kdd", 0))),
    definite=True,
)
# ‖a‖² has the unit of data squared, ‖D‖² that to the fourth: the sum has no unit.
record(
    objectives.frobenius_loss,
    RATES,
    (number(), EuclideanTangent(vectors("kd"), Kind("kdd", 2))),
    without="scale",
)

# Matrices
COV = {"cov": gaussian().cov}
SYMMETRIC = Kind("bdd", 2, "symmetric")
record(psd.sqrtm, COV, Kind("bdd", 1))
record(psd.inv_sqrtm, COV, Kind("bdd", -1), definite=True)
record(psd.project_psd, {"matrix": SYMMETRIC}, SYMMETRIC)
record(psd.nuclear_norm, {"matrix": Kind("bdd", 2)}, number("b", 2))
record(psd.solve_lyapunov, COV | {"matrix": SYMMETRIC}, Kind("bdd", 0), definite=True)
record(evidence.from_spectrum, {"vectors": Kind("bdT"), "values": Kind("bT", 2)}, Kind("bdd", 2))
# Which factor is taken is a matter of coordinates.
record(psd.factor, {"cov": Kind("bcc", 2, "covariance")}, Kind("bcc", 1))
FACTORS = {"cov0": Kind("bcc", 2, "covariance"), "cov1": Kind("bcc", 2, "covariance")}
record(psd.procrustes_factors, FACTORS, (Kind("bcc", 1), Kind("bcc", 1)), styles=UNIQUE)
LIFTED = {"factors": Kind("bdT", 1), "rates": Kind("bdT", 1)}
record(
    psd.solve_lift,
    LIFTED,
    Kind("bdd", 0),
    same=("dT",),
    sizes={"d": (2, 3, 1)},
    ulps=1e4,  # condition numbers of the factors
    styles=UNIQUE,
)
record(
    psd.lift_and_kernel,
    LIFTED,
    (Kind("bdd", 0), None),
    same=("dT",),
    sizes={"d": (2, 3, 1)},
    ulps=1e4,  # condition numbers of the factors
    styles=UNIQUE,
)
# The second factor turns with the data, and its columns with the first one.
record(
    psd.turned,
    {"factor0": Kind("bdT", 1), "factor1": Kind("bdT", 1)},
    Kind("bdT", 1),
    same=("dT",),
    ulps=1e4,  # condition numbers of the products
    styles=UNIQUE,
)
record(psd.deviations, {"variance": positive("bc", 2)}, Kind("bc", 1))
# Vectors are unique up to their signs.
record(
    evidence.eigh,
    {"matrix": SYMMETRIC},
    (Kind("bT", 2), None),
    call=lambda matrix: evidence.eigh(matrix, "matrix"),
)
record(
    evidence.svd,
    {"matrix": Kind("bdT", 1)},
    (None, Kind("bT", 1), None),
    call=lambda matrix: evidence.svd(matrix, "matrix"),
)
record(
    evidence.without_rounding,
    {"values": Kind("bk", 1), "floor": positive("b", 1)},
    Kind("bk", 1),
    call=lambda values, floor: evidence.without_rounding(values, floor[..., None]),
)
record(
    evidence.decompose,
    {"cov": Kind("bcc", 2, "covariance")},
    Kind("bcc", 1),
    definite=True,
    call=lambda cov: evidence.decompose(np.linalg.cholesky, cov, "cov"),
)


# Sources: each draw from the same generator
record(
    cloud_sources.fit_cholesky_normal,
    {"cov": Kind("kcc", 2, "covariance")},
    CholeskyNormal(Kind("cc", 1), Kind("cc", 1)),
    definite=True,
    ulps=1e3,  # condition numbers of the covariances
)
record(cloud_sources.cholesky, {"cov": Kind("bcc", 2, "covariance")}, Kind("bcc", 1), definite=True)
record(
    sources.fit_gaussian_wishart,
    {"family": gaussian("k", "c")},
    GaussianWishart(points("c"), positive("c", 1), Kind("cc", 1), None),
    definite=True,
    ulps=1e5,  # as the barycenter
)
record(
    sources.sample_gaussian_wishart,
    {"source": GaussianWishart(points("c"), positive("c", 1), Kind("cc", 1), None)},
    gaussian("T", "c"),
    call=lambda source: sources.sample_gaussian_wishart(
        source._replace(df=source.mean.shape[0]), rng=np.random.default_rng(0), size=3
    ),
)
record(
    sources.sample_empirical,
    {"family": gaussian("T")},
    (gaussian("T"), None),
    call=lambda family: sources.sample_empirical(family, rng=np.random.default_rng(0), size=3),
)

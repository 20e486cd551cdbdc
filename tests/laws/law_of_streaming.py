"""Records of transport that never stores its costs, in blocks of three points."""

import numpy as np
from law_kinds import Kind, index, number, points, positive, weights
from law_of_plans import ENTROPIC, EPS, POTENTIALS, QUERY, SOLUTION, STEPS
from law_record import UNIQUE, record

from refwfm.transport import point_problem, problem, streamed_plans, streaming
from refwfm.transport.point_problem import PointProblem

GIVEN = {"x": points("bnd"), "y": points("bmd"), "a": weights("bn"), "b": weights("bm")}
record(
    streaming.streamed_softmin,
    {"x": points("bqd"), "y": points("bmd"), "potential": Kind("bm", 2), "weights": weights("bm")} | EPS,
    Kind("bq", 2),
    options={"block": 3},
    **ENTROPIC,
)
record(
    streaming.sinkhorn_points,
    GIVEN | EPS,
    SOLUTION,
    call=lambda x, y, a, b, eps: streaming.sinkhorn_points(x, y, a, b, eps=eps, block=3, **STEPS),
    **ENTROPIC,
)
record(
    streaming.streamed_marginal_errors,
    {"problem": PointProblem(*GIVEN.values(), positive("b", 2), Kind("bn", 2))} | POTENTIALS,
    (number("b"), number("b")),
    options={"block": 3},
    ulps=1e4,
)
OF_POINTS = GIVEN | {"solution": SOLUTION._replace(row_error=None, col_error=None)}
for value in (streamed_plans.streamed_transport_cost, streamed_plans.streamed_dual_value):
    record(value, OF_POINTS, number("b", 2), options={"block": 3}, **ENTROPIC)
record(
    streamed_plans.streamed_entropic_map,
    QUERY | EPS,
    points("bqd"),
    call=lambda eps, **given: streamed_plans.streamed_entropic_map(*given.values(), eps=eps, block=3),
    **ENTROPIC,
)
for name in ("max", "mean"):
    record(
        point_problem.streamed_scale,
        GIVEN,
        number("b", 2),
        suffix=name,
        call=lambda x, y, a, b, name=name: point_problem.streamed_scale(
            problem.clear_points(x, a), problem.clear_points(y, b), a, b, name, block=3
        ),
        without="" if name == "max" else "splitting",  # every pair counts once, whatever it weighs
    )
record(
    streamed_plans.sample_streamed_targets,
    OF_POINTS,
    index("bn", "m"),
    call=lambda x, y, a, b, solution: streamed_plans.sample_streamed_targets(
        x, y, a, b, solution, rng=np.random.default_rng(0), block=3
    ),
    styles=UNIQUE,
    without="permutation padding splitting far rotation",  # what is drawn depends on the order
)

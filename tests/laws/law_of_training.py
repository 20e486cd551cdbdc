"""Records of what trains networks: optimisers and averages of parameters."""

from law_kinds import Kind, number, points, positive
from law_record import record

from refwfm.training import muon, optim

# Optimisation: parameters in any unit, gradients in any other
TREE = {"bias": Kind("T", 1)}
ADAM = {"params": TREE, "grads": {"bias": Kind("T")}, "rate": positive("", 1)}


def adam(params, grads, rate):
    state = optim.init_adam(params)
    return optim.adam(params, grads, state, learning_rate=float(rate))[0]


record(optim.adam, ADAM, TREE, call=adam)


def muon_step(params, grads, rate):
    return muon.muon(params, grads, optim.init_adam(params), learning_rate=float(rate))[0]


MATRIX = {"blocks": {"0": Kind("TT", 1)}}
record(
    muon.muon,
    {"params": MATRIX, "grads": {"blocks": {"0": Kind("TT")}}, "rate": positive("", 1)},
    MATRIX,
    call=muon_step,
    ulps=1e4,
)
record(muon.orthogonalize, {"matrix": Kind("bTT", 1)}, Kind("bTT"), ulps=1e4)
record(
    optim.clip_by_global_norm,
    {"grads": TREE, "largest": positive("", 1)},
    (TREE, number("", 1)),
    call=lambda grads, largest: optim.clip_by_global_norm(grads, float(largest)),
)
AFFINE = {"bias": points("T")}
record(optim.ema, {"average": AFFINE, "params": AFFINE}, AFFINE, options={"decay": 0.75})
record(
    optim.exponential_decay,
    {"base": positive("", 1)},
    number("", 1),
    call=lambda base: optim.exponential_decay(500, base=float(base)),
)
record(
    optim.warm_up_cosine,
    {"base": positive("", 1)},
    number("", 1),
    call=lambda base: optim.warm_up_cosine(500, base=float(base), warm_up=100, n_steps=2000),
)

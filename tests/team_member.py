"""One process of a team, started by torchrun for test_processes.py: trains cases, or runs the command."""

import os
import signal
import sys
from dataclasses import replace
from functools import cache

import numpy as np

from refwfm import backends, datasets
from refwfm.runs import models
from refwfm.training import algorithm, optim
from refwfm.training.config import CloudConfig, GaussianConfig, MetaCloudsConfig, MetaFMConfig, MetaOTConfig
from refwfm.training.team import ALONE, Share

STEPS = 50

ON_TORCH = ("gaussians", "entropic")
"""Cases that are trained there, too."""


def clouds(sizes, *, count=12):
    rng = np.random.default_rng(3)
    return datasets.clouds_from_arrays([rng.standard_normal((rng.choice(sizes), 2)) for _ in range(count)])


@cache
def cases():
    """Name -> configuration, family. No number of members here is divided by that of processes."""
    small = {"batch": 5, "steps": STEPS, "width": 8, "depth": 1, "heads": 1, "hidden": 8}
    found = {
        "gaussians": (
            GaussianConfig(batch=5, steps=STEPS, width=8, depth=1, ema=0.9),
            datasets.load("cities"),
        ),
        "sampled": (
            replace(CloudConfig(inner="sampled", source_size="data", **small), steps=10),
            clouds([3, 5]),
        ),
        "twin": (replace(CloudConfig(inner="entropic", inner_tol=1e-3, **small), steps=5), clouds([48])),
        "meta-ot": (MetaOTConfig(batch=5, steps=5, width=8, depth=1), datasets.load_pairs("strokes")),
        "meta-clouds": (MetaCloudsConfig(batch=5, steps=5), clouds([4, 6])),
        "meta-fm": (
            MetaFMConfig(batch=3, steps=4, width=8, depth=1, particles=6),
            datasets.load_populations("synthetic-screen"),
        ),
    }
    for plan in ("exact", "entropic", "rounded"):
        found[plan] = CloudConfig(inner=plan, eps=0.1, inner_tol=1e-3, **small), clouds([6])
    return found


def trained(config, family, backend, team):
    """All parameters after a training, as one vector."""
    model, data = models.prepare(config, family, backend)
    labels = getattr(family, "labels", None)
    state = algorithm.train(
        config, model.setting, data, labels, model.state, ops=backend.ops, team=team, every=10
    )
    flat = optim.flatten(state.params)
    return np.concatenate([np.ravel(backend.to_numpy(flat[name])) for name in sorted(flat)])


def all_trained(names, library, team=ALONE, prepared=lambda backend: backend):
    backend = prepared(backends.load(library, dtype="float64"))
    known = cases()
    return {f"{library}/{name}": trained(*known[name], backend, team) for name in names}


def wrong_teams(team):
    """Teams whose mean is a plausible wrong one."""
    return {
        "unweighted": team._replace(mean=lambda tree, count: team.mean(tree, 1)),
        "forgotten": team._replace(mean=lambda tree, count: team.mean(tree, count * (team.share.rank == 0))),
    }


def train_cases(out):
    from refwfm.backends import _processes

    with _processes.joined() as (team, _):

        def prepared(backend):
            return _processes.together(backend, team)

        found = all_trained(cases(), "numpy", team, prepared)
        found |= all_trained(ON_TORCH, "torch:cpu", team, prepared)
        for wrong, other in wrong_teams(team).items():
            found |= {f"{wrong}/{k}": v for k, v in all_trained(["gaussians"], "numpy", other).items()}
        found |= {f"apart/{k}": v for k, v in all_trained(["entropic"], "numpy", team).items()}
        if team.share.rank == 0:
            np.savez(out, **found)


def command(ending, at, arguments):
    """The command, of which the process of rank 1 is killed, or fails, before a step."""
    from refwfm.cli import main

    step = algorithm.step

    def ended(config, setting, family, labels, state, /, **others):
        if others["team"].share == Share(1, 2) and state.step == at:
            if ending == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            elif ending == "stopped":
                os.kill(os.getpid(), signal.SIGTERM)
            elif ending == "fails":
                raise MemoryError("no room for 7 bytes")
        return step(config, setting, family, labels, state, **others)

    algorithm.step = ended
    sys.argv = ["refwfm", *arguments]
    main()


if __name__ == "__main__":
    if sys.argv[1] == "cases":
        train_cases(sys.argv[2])
    else:
        command(sys.argv[1], int(sys.argv[2]), sys.argv[3:])

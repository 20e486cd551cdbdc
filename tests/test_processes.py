"""A run of several processes is the run of one: same numbers, one writer, and no one waits for the dead."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import team_member
from command import assert_error, refwfm, succeed
from thirds import THOROUGH

from refwfm.backends import BackendError, _processes
from refwfm.couplings.inner import INNER, couple
from refwfm.measures import PointCloud
from refwfm.runs import models, together
from refwfm.training.optim import flatten
from refwfm.training.team import ALONE, Share, members, part_of
from refwfm.transport.sinkhorn import sinkhorn

HERE = Path(__file__).parent
# Sums of float64 in another order, through fifty steps; numbers are of size 1. Observed: 4e-14.
ROUNDING = 1e-11
RUN = ("--data", "cities", "--width", 8, "--depth", 1, "--batch", 5, "--dtype", "float64", "--quiet")


def launch(*arguments, processes=2):
    """What a team prints on its two outputs, and the seconds it took."""
    began = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"),
            *(HERE / "team_member.py", *map(str, arguments)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done, time.monotonic() - began


def parameters(folder):
    model = models.load_model(folder, models.Host("float64"))
    return {name: np.asarray(leaf) for name, leaf in flatten(model.state.params).items()}


# Shares


@pytest.mark.parametrize(("batch", "size"), [(1, 1), (8, 3), (5, 5), (128, 7)])
def test_shares_are_the_batch(batch, size):
    rows = [np.arange(batch)[members(Share(rank, size), batch)] for rank in range(size)]
    assert np.concatenate(rows).tolist() == list(range(batch))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_a_batch_too_small_to_share_is_refused():
    with pytest.raises(ValueError, match="a batch of 2 has no share for each of 3 processes"):
        members(Share(0, 3), 2)


def test_a_record_is_cut_with_the_records_in_it():
    cloud = PointCloud(np.arange(12.0).reshape(3, 2, 2), np.full((3, 2), 0.5))
    nested = part_of(models.Model("config", cloud, np.asarray(1.0), {}), Share(1, 2))
    assert nested.setting.points.tolist() == cloud.points[1:].tolist()
    assert (nested.config, float(nested.state)) == ("config", 1.0)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("sizes", [[5], [3, 5]], ids=["alike", "ragged"])
@pytest.mark.parametrize("inner", INNER)
def test_members_are_coupled_as_with_the_others(inner, sizes, replace):
    """Draws, too, are those that they get in the whole batch, and what is drawn next is the same."""
    if len(sizes) > 1 and inner in ("rounded", "linear", "lazy"):
        pytest.skip("for clouds alike in size")
    rng = np.random.default_rng(0)
    # A share alone may be alike in size where the batch is not: the last two are.
    count = [sizes[0], *([sizes[-1]] * 4)]
    x, y = (
        PointCloud(
            np.where(live[..., None], rng.standard_normal((5, 5, 2)), 0.0), live / live.sum(1, keepdims=True)
        )
        for live in (np.arange(5) < np.asarray(order)[:, None] for order in (count, count[::-1]))
    )

    def solve(cost, a, b):
        return sinkhorn(cost, a, b, eps=0.5, tol=None, max_iter=20, require=False)

    def coupled(**options):
        draws = np.random.default_rng(1)
        return couple(x, y, inner, rng=draws, solve=solve, n_proj=4, replace=replace, **options), draws

    whole, after = coupled()
    for some in (slice(0, 2), slice(2, 5)):
        part, then = coupled(members=some)
        for name in ("x", "y", "weights"):
            np.testing.assert_allclose(getattr(part, name), getattr(whole, name)[some], rtol=0, atol=1e-14)
        assert then.bit_generator.state == after.bit_generator.state


# Several processes


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    out = tmp_path_factory.mktemp("team") / "two.npz"
    done, _ = launch("cases", out)
    assert done.returncode == 0, done.stderr
    return dict(np.load(out))


@pytest.fixture(scope="module")
def of_one():
    on_torch = team_member.all_trained(team_member.ON_TORCH, "torch:cpu")
    return team_member.all_trained(team_member.cases(), "numpy") | on_torch


def difference(found, expected):
    return np.max(np.abs(found - expected)) / np.max(np.abs(expected))


def test_two_processes_learn_what_one_does(of_one, of_two):
    wrong = {name: difference(of_two[name], each) for name, each in of_one.items()}
    assert max(wrong.values()) < ROUNDING, wrong


def test_wrong_means_are_noticed(of_one, of_two):
    """Means of shares of 2 and 3 members as if they were alike; a share left out; shares solved apart."""
    for name in ("unweighted/numpy/gaussians", "forgotten/numpy/gaussians", "apart/numpy/entropic"):
        assert difference(of_two[name], of_one[name.partition("/")[2]]) > 1e3 * ROUNDING, name


def test_one_goes_on_where_two_stopped_and_two_where_one_did(tmp_path):
    """One process, then two, then one: the run of one. And one writer, whose lines come once."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    succeed("train", *RUN, "--out", whole, "--steps", 30, "--log-every", 5)
    succeed("train", *RUN, "--out", parts, "--steps", 10, "--log-every", 5)
    done, _ = launch("goes on", 0, "train", "--resume", "--out", parts, "--steps", 20, "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("step 20/20") == 1
    assert done.stdout.count("the run is in") == 1
    succeed("train", "--resume", "--out", parts, "--steps", 30, "--quiet")
    found, expected = parameters(parts), parameters(whole)
    for name, leaf in expected.items():
        np.testing.assert_allclose(found[name], leaf, rtol=0, atol=ROUNDING)
    steps = [line.split(",")[0] for line in (parts / "log.jsonl").read_text().splitlines()]
    assert steps == [f'{{"step": {step}' for step in range(5, 35, 5)]


ENDINGS = {
    "killed": "error: another process of this run has ended, or cannot be reached; stopped",
    "fails": "error: process 1: no room for 7 bytes; stopped",
    "stopped": "stopped",
}


@pytest.mark.parametrize(("ending", "words"), list(ENDINGS.items())[: 3 if THOROUGH else 1])
def test_all_end_when_one_does(tmp_path, ending, words):
    """Within seconds, with one line that says what was saved; and the run can be resumed by one process."""
    out = tmp_path / "run"
    options = ("--out", out, "--steps", 100_000, "--log-every", 5, "--checkpoint-every", 5)
    done, seconds = launch(ending, 12, "train", *RUN, *options)
    assert done.returncode != 0
    assert seconds < 60  # of which most are imports; one that waits for a dead one does so for an hour
    step = 13 if ending == "stopped" else 10
    said = [line for line in (done.stdout + done.stderr).splitlines() if "refwfm train --resume" in line]
    assert said == [f"{words}; continue from step {step} with: refwfm train --resume --out {out}"]
    assert models.load_model(out, models.Host("float64")).state.step == step
    succeed("train", "--resume", "--out", out, "--steps", step + 2, "--quiet")


def test_other_options_or_data_are_refused():
    own = {"batch": 5, "fingerprint": "a", "log_every": 50}
    together._check_terms(own, dict(own))
    with pytest.raises(ValueError, match="another value of batch, the data than process 0"):
        together._check_terms(own, {**own, "batch": 6, "fingerprint": "b"})


def test_stopping_is_agreed_on():
    """What the other wants is what this one does; alone it is asked itself."""
    told = iter([np.zeros(2), np.asarray([0.0, 1.0]), np.asarray([1.0, 0.0])])
    team = ALONE._replace(share=Share(0, 2), largest=lambda mine: np.maximum(mine, next(told)))
    agreed = together.Agreed(team, lambda: False)
    due = agreed.due(lambda state, metrics: False)
    assert [(due(None, None), agreed.stop()) for _ in range(3)] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    assert together.Agreed(ALONE, lambda: True).stop()


@pytest.mark.parametrize("name", ["strict", "jax", "cupy"])
def test_other_libraries_are_refused(name):
    with pytest.raises(BackendError, match=f"numpy, torch:cpu or torch:cuda; got {name}"):
        _processes.device_of_rank(name)


def test_no_team_is_made_of_words():
    assert_error(refwfm("train", *RUN, "--steps", 2, RANK="x", WORLD_SIZE="2"), "RANK = 'x'")

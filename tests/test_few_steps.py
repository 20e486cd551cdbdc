"""Quality against calls of the network: what is compared, and that the whole experiment runs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from command import assert_error, refwfm, succeed

from refwfm.paper_figures import few_experiment, few_steps
from refwfm.paper_figures.few_experiment import SOLVERS, FewOutcome, FewTask, calls_of, matched, steps_of


def test_solvers_are_compared_at_equal_calls():
    assert [steps_of("Euler", n) for n in (1, 2, 5, 50)] == [1, 2, 5, 50]
    assert [steps_of("midpoint", n) for n in (1, 2, 5, 50)] == [1, 1, 2, 25]
    for solver in SOLVERS:
        assert all(calls_of(solver, n) <= n for n in (2, 5, 10, 25, 50))
    assert calls_of("midpoint", 1) == 2  # which is more than one: left out of that column


def test_calls_are_counted_as_the_network_is_asked(rng):
    from refwfm.generation import generate_clouds
    from refwfm.measures import PointCloud

    source = PointCloud(rng.normal(size=(1, 2, 2)), np.full((1, 2), 0.5))
    for solver, (method, times) in SOLVERS.items():
        asked = []

        def field(cloud, t, asked=asked):
            asked.append(t)
            return cloud.points

        generate_clouds(field, source, n_steps=steps_of(solver, 10), method=method, times=times)
        assert len(asked) == calls_of(solver, 10) == 10


def test_the_best_pairs_punish_collapse(rng):
    """Copies of one member are near to the data, and far from the family."""
    real, fresh = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    collapsed = np.repeat(real[:1], 60, axis=0)

    def cost(x):
        return np.sum((x[:, None] - real) ** 2, axis=-1)

    assert matched(cost(collapsed)) > 3 * matched(cost(fresh))
    assert np.mean(cost(collapsed).min(axis=1)) == 0 < np.mean(cost(fresh).min(axis=1))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("few")
    said = succeed(
        *("reproduce", "few-steps", "--scale", "smoke", "--steps", 4, "--jobs", 1, "--out", out),
        *("--data", "two-moons", "--data", "circles"),
    )
    return out, said


def test_smoke(done):
    out, said = done
    table = said[said.index("solver") :]
    assert all(len(line) <= 80 for line in table.splitlines() if not line.startswith("wrote"))
    assert "two-moons; real members" in said
    assert (out / "few-steps.png").stat().st_size > 10_000
    rows = json.loads((out / "few-steps.json").read_text())["rows"]
    assert {row["data"] for row in rows} == {"two-moons", "circles"}
    assert {row["coupling"] for row in rows} == {"", *few_steps.COUPLINGS}
    assert {row["solver"] for row in rows} == set(SOLVERS)
    for row in rows:
        assert all(value > 0 for value in row["sq_wow_to_held_out"] + row["real_sq_wow_to_held_out"])
        assert row["calls"] <= row["at_most"]
    first = [row for row in rows if row["data"] == "two-moons" and row["calls"] == 1]
    assert len({tuple(row["sq_wow_to_held_out"]) for row in first}) == 1  # one step: times make no difference


def test_unknown_families_are_refused(tmp_path):
    result = refwfm("reproduce", "few-steps", "--scale", "smoke", "--data", "cities", "--out", tmp_path)
    assert_error(result, "--data must be among two-moons, niches, circles; got cities")


def test_the_best_of_a_column_is_marked_with_what_is_as_good():
    from refwfm.cli.few_figures import _table

    task = FewTask("x", "", None, 0, few_steps.SCALES["smoke"], None)
    quality = {"Euler": {2: [1.0, 2.0]}, "midpoint": {2: [1.1, 1.9]}, "Euler, late": {2: [3.0, 4.0]}}
    outcome = FewOutcome(task, quality, {}, [0.5], 1.0)
    cells = list(_table("title", [outcome], (1, 2)).columns[2].cells)
    assert cells == ["1.5*", "1.5*", "3.5 "]
    assert list(_table("title", [outcome], (1, 2)).columns[1].cells) == ["-", "-", "-"]


def test_a_run_measures_the_same_held_out_members_for_all(monkeypatch):
    seen = []

    def known(task):
        return (
            lambda seed, **how: how["n_steps"],
            lambda found, held: seen.append(held) or float(found),
            lambda found, exact: float(found - exact),
            lambda seed: (seed, seed),
        )

    monkeypatch.setattr(few_experiment, "_gaussians", known)
    scale = SimpleNamespace(evaluations=2, calls=(1, 4))
    outcome = few_experiment.run(FewTask("x", "", None, 3, scale, None))
    assert set(seen) == {3000, 3001}
    assert outcome.quality["midpoint"] == {4: [2.0, 2.0]}
    assert outcome.quality["Euler"] == {1: [1.0, 1.0], 4: [4.0, 4.0]}

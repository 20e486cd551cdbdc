"""Tables and figures of couplings, at smoke scale: they run, and their numbers are what they claim."""

import json
import os

import numpy as np
import pytest
from command import assert_error, refwfm, succeed

from refwfm import datasets
from refwfm.datasets.circles import HIGH, LOW, REACH, circles
from refwfm.paper_figures import FIGURES
from refwfm.paper_figures.cloud_experiment import CloudTask
from refwfm.paper_figures.flow_pictures import KERNEL, _density, draw_densities, draw_paths
from refwfm.paper_figures.gwfm import experiment as gwfm_experiment

needs_data = pytest.mark.skipif("REFWFM_DATA" not in os.environ, reason="REFWFM_DATA is not set")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REFWFM_CACHE", str(tmp_path / "cache"))


# --- circles


def test_circles_are_what_they_say(rng):
    family = circles(HIGH, n=50, n_points=7, rng=rng)
    assert (len(family), family.dimension) == (50, 2)
    points = family.batch(np.arange(50)).points
    centre = points.mean(axis=1)
    np.testing.assert_allclose(centre[:, 1], HIGH.height)
    assert np.all(np.abs(centre[:, 0]) <= REACH)
    radius = np.linalg.norm(points - centre[:, None], axis=2)
    np.testing.assert_allclose(radius, np.broadcast_to(radius[:, :1], radius.shape))
    assert np.all((radius >= HIGH.smallest) & (radius <= HIGH.largest))
    sides = np.linalg.norm(np.diff(points, axis=1), axis=2)
    np.testing.assert_allclose(sides, 2 * radius[:, 1:] * np.sin(np.pi / 7))
    with pytest.raises(ValueError, match="n and n_points must be at least 1; got 0 and 30"):
        circles(n=0, rng=rng)


def test_small_circles_are_smaller_and_lower_and_held_out_ones_are_others():
    assert LOW.largest < HIGH.smallest
    assert LOW.height < HIGH.height
    for name in ("circles", "small-circles"):
        family, other = datasets.load(name), datasets.held_out(name)
        assert not np.isin(other.points, family.points).any()
        np.testing.assert_array_equal(datasets.load(name).points, family.points)


@needs_data
def test_drawn_digits_have_equal_sizes_and_lie_in_the_unit_square():
    for name in ("usps-64", "usps-256-test"):
        family = datasets.load(name)
        assert set(family.sizes) == {int(name.split("-")[1])}
        assert 0 <= family.points.min() < 0.1
        assert 0.9 < family.points.max() <= 1
        np.testing.assert_array_equal(datasets.load(name).points, family.points)


# --- what is run


def test_every_figure_has_its_parts_at_every_scale():
    from importlib import import_module

    for name, module in FIGURES.items():
        figure = import_module(module)
        if name.startswith("meta-ot"):
            assert figure.TITLE.startswith("Meta OT")
            continue
        if name.startswith("meta-fm"):
            assert figure.TITLE.startswith("Meta FM")
            continue
        if not name.startswith("gwfm"):
            assert figure.KIND in ("gaussians", "clouds", "meta-ot", "few-steps", "ablation")
            continue
        assert ("times" if name == "gwfm-table-5" else "couplings") == figure.KIND
        assert figure.TITLE.startswith("GWFM")
        assert all(isinstance(line, str) and len(line) > 20 for line in figure.SHAPE)
        if name == "gwfm-table-5":
            continue
        for scale in ("smoke", "laptop", "paper"):
            for variants in figure.variants(scale).values():
                assert len(variants) >= 2
                for each in variants.values():
                    source = {"source": "family"} if hasattr(figure, "SOURCES") else {}
                    gwfm_experiment.CloudConfig(**each.config, **source)
                    assert each.euler == ((1, 2) if scale == "smoke" else (5, 25, 125))
                    assert each.evaluations >= (2 if scale == "smoke" else 3)


def test_equal_training_but_for_the_coupling():
    from refwfm.paper_figures.gwfm import table_1

    for scale, count in (("smoke", 4), ("laptop", 4), ("paper", 7)):
        (variants,) = table_1.variants(scale).values()
        again = variants.pop("lazy/lazy, rectified")
        assert again._replace(rectify=None) == variants["lazy/lazy"]
        assert again.rectify["rectified_pairs"] == table_1.RECTIFIED[scale]
        assert len(variants) == count
        rest = [
            {k: v for k, v in each.config.items() if k not in ("outer", "inner")}
            for each in variants.values()
        ]
        assert all(each == rest[0] for each in rest)
        for name, each in variants.items():
            assert name == f"{each.config['outer']}/{each.config['inner']}"


def test_what_a_run_gives():
    scale = gwfm_experiment.scale_of("smoke", laptop={}, paper={}, outer="lazy", inner="lazy")
    task = CloudTask("circles", "lazy/lazy", 1, scale, None, "small-circles")
    found = gwfm_experiment.run(task)
    assert list(found.scores) == [1, 2]
    assert all(len(each) == 2 for each in found.scores.values())
    assert found.path.shape == (5, 10, 30, 2)
    start = datasets.held_out("small-circles")
    known = start.batch(np.arange(len(start))).points.reshape(len(start), -1)
    for cloud in found.path[0]:
        assert np.abs(known - cloud.reshape(-1)).max(axis=1).min() < 1e-5
    same = gwfm_experiment.run(task)
    np.testing.assert_array_equal(found.path, same.path)
    assert found.straightness == same.straightness
    # In 2 seeds x 2 evaluations no two evaluations are the same.
    other = gwfm_experiment.run(task._replace(seed=0))
    assert len({*found.straightness, *other.straightness}) == 4


def test_the_optimal_coupling_pairs_at_the_least_cost():
    costs = {}
    for pair in (("independent", "independent"), ("independent", "exact"), ("wasserstein", "exact")):
        scale = gwfm_experiment.scale_of("smoke", laptop={}, paper={}, outer=pair[0], inner=pair[1])
        scale = scale.of(steps=1)._replace(evaluations=1, euler=(1,))
        found = gwfm_experiment.run(CloudTask("circles", "x", 0, scale, None, "small-circles"))
        costs[pair] = found.cost
    random, inner, both = costs.values()
    assert both < inner < random
    # Centres: 9 up, REACH² 2/3 apart at random; radii: about 0.1 by transport, and about 0.45 without.
    assert inner == pytest.approx(9 + 2 * REACH**2 / 3 + 0.13, abs=0.8)


@needs_data
def test_the_report_on_laziness_is_that_of_the_clouds():
    scale = gwfm_experiment.scale_of(
        "smoke", laptop={}, paper={}, source="barycentric", outer="lazy", inner="lazy"
    )
    found = gwfm_experiment.run(CloudTask("usps-64", "lazy/lazy", 0, scale, None))
    assert found.laziness is not None
    assert found.laziness.mean_ratio >= 1
    assert 0 <= found.laziness.inside <= found.laziness.optimal <= 1


# --- the command


def test_circles_on_the_command_line(tmp_path):
    said = succeed("reproduce", "gwfm-figure-1", "--scale", "smoke", "--out", tmp_path, "--jobs", 1)
    for words in ("wasserstein/exact", "bend", "coupling ms", "the text: transport on both levels"):
        assert words in said
    assert (tmp_path / "gwfm-figure-1.png").stat().st_size > 10_000
    rows = json.loads((tmp_path / "gwfm-figure-1.json").read_text())["rows"]
    assert len(rows) == 4
    assert all(len(row["scores"]["2"]["one_nn_ot"]) == 2 and row["source_family"] for row in rows)


@pytest.mark.parametrize("number", [4, 5, 6])
def test_ablations_on_the_command_line(tmp_path, number):
    name = f"gwfm-figure-{number}"
    succeed("reproduce", name, "--scale", "smoke", "--steps", 3, "--out", tmp_path, "--jobs", 1)
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_a_stopped_experiment_goes_on_after_its_finished_runs(tmp_path, monkeypatch):
    command = ("reproduce", "gwfm-figure-4", "--scale", "smoke", "--steps", 3, "--out", tmp_path, "--jobs", 1)
    run = gwfm_experiment.run

    def stopped(task):
        if task.variant == "batch 4":
            raise KeyboardInterrupt
        return run(task)

    monkeypatch.setattr(gwfm_experiment, "run", stopped)
    result = refwfm(*command)
    assert result.exit_code == 130
    assert "--resume goes on" in result.stderr
    monkeypatch.setattr(gwfm_experiment, "run", run)
    succeed(*command, "--resume")

    def not_again(task):
        raise AssertionError(task)

    monkeypatch.setattr(gwfm_experiment, "run", not_again)
    succeed(*command, "--resume")
    rows = json.loads((tmp_path / "gwfm-figure-4.json").read_text())["rows"]
    assert [row["variant"] for row in rows] == ["batch 2", "batch 4"]


@needs_data
@pytest.mark.parametrize("name", ["gwfm-table-2", "gwfm-table-3"])
def test_tables_on_the_command_line(tmp_path, name):
    said = succeed("reproduce", name, "--scale", "smoke", "--steps", 3, "--out", tmp_path, "--jobs", 1)
    assert "the text" in said
    data = "chairs" if name == "gwfm-table-2" else "usps-64"
    assert (tmp_path / f"{name}-{data}.png").stat().st_size > 10_000
    if name == "gwfm-table-3":
        assert (tmp_path / f"gwfm-figure-3-{data}.png").stat().st_size > 10_000


def test_times_on_the_command_line(tmp_path):
    said = succeed("reproduce", "gwfm-table-5", "--scale", "smoke", "--out", tmp_path)
    assert "lazy/lazy" in said
    rows = json.loads((tmp_path / "gwfm-table-5.json").read_text())["rows"]
    assert len(rows) == 12
    assert all(row["ms"] > 0 for row in rows)
    result = refwfm("reproduce", "gwfm-table-5", "--scale", "smoke", "--steps", 3, "--out", tmp_path)
    assert_error(result, "gwfm-table-5 trains nothing")


# --- pictures


def test_densities_integrate_to_one_and_have_the_kernels_width():
    grid = np.linspace(-6, 6, 121)
    at = np.stack(np.meshgrid(grid, grid)).reshape(2, -1)
    points = np.random.default_rng(0).standard_normal((64, 2))
    density = _density(points, at)
    assert density.sum() * 0.1**2 == pytest.approx(1, abs=1e-3)
    spread = density @ at[0] ** 2 * 0.1**2 - (density @ at[0] * 0.1**2) ** 2
    factor = KERNEL * 64 ** (-1 / 6)
    expected = points[:, 0].var() + factor**2 * points[:, 0].var(ddof=1)
    assert spread == pytest.approx(expected, rel=1e-3)


def test_pictures_of_paths(tmp_path):
    rng = np.random.default_rng(0)
    path = rng.random((5, 2, 8, 2))
    draw_paths({"one": path, "two": path}, list(path[-1]), tmp_path / "paths.png")
    draw_densities({"one": path}, tmp_path / "densities.png")
    assert (tmp_path / "paths.png").stat().st_size > 5000
    assert (tmp_path / "densities.png").stat().st_size > 5000

"""The demo, figures and tables: complete numbers, pictures with something on them, the same every time."""

import json
import os
import sys
from types import SimpleNamespace

import joblib
import matplotlib.image
import numpy as np
import pytest
from command import assert_error, refwfm, succeed

from refwfm import datasets
from refwfm.measures import Gaussian
from refwfm.paper_figures import FIGURES, ablation, demo, experiment
from refwfm.paper_figures.comparison import draw_comparison
from refwfm.paper_figures.processes import in_processes
from refwfm.paper_figures.table_2 import paper_value
from refwfm.training import algorithm
from refwfm.training.config import CloudConfig, GaussianConfig
from refwfm.training.methods import METHODS
from refwfm.training.presets import with_preset
from refwfm.transport.programme import POT_ALONE

SMALL = experiment.SCALES["smoke"]._replace(steps=4, width=4, depth=1, size=6, n_steps=3)
RED = np.array([0.82, 0.29, 0.36])


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFWFM_BACKEND", raising=False)


def compare(scales, methods=METHODS, **options):
    tasks = experiment.tasks_of(scales, methods=methods)
    return in_processes(experiment.run, tasks, kinds=experiment.RECORDS, **options)


def assert_rows_are_complete(path, families, scale_of=lambda name, scale: scale):
    scale = experiment.SCALES["smoke"]
    found = json.loads(path.read_text())
    assert found["scale"] == "smoke"
    keys = [(row["data"], row["method"], row["seed"]) for row in found["rows"]]
    assert sorted(keys) == sorted((f, m, s) for f in families for m in METHODS for s in range(scale.seeds))
    for row in found["rows"]:
        assert scale_of(row["data"], scale)._asdict().items() <= row.items()
        assert 0 < row["bures_part"] < row["min_w2_sq"]
        assert row["deviation_over_generated"] > 0
        assert 0 <= row["repaired"] <= 1
        assert row["train_s"] > 0
        labelled = datasets.CATALOGUE[row["data"]].n_labels > 0
        assert (row["label_accuracy"] is not None) == labelled
    return found["rows"]


def dark_and_red(path, rows, columns):
    """Whether each panel has grey lines, and whether it has red ones: (rows * columns,) each."""
    picture = matplotlib.image.imread(path)[..., :3]
    colourful = np.ptp(picture, axis=-1) > 0.1
    red = colourful & (picture[..., 0] > picture[..., 1] + 0.1)
    grey = ~colourful & (picture[..., 0] < 0.9)
    counts = []
    for mask in (grey, red):
        halves = [part for row in np.array_split(mask, rows) for part in np.array_split(row, columns, axis=1)]
        counts.append(np.array([half.sum() for half in halves]))
    return counts


@pytest.mark.parametrize(
    ("arguments", "name", "family", "panels"),
    [
        (("reproduce", "figure-2"), ("figure-2",) * 2, "spiral-128", (1, 4)),
        (("reproduce", "figure-s1"), ("figure-s1",) * 2, "spiral-16", (1, 4)),
        (("reproduce", "figure-s4"), ("figure-s4",) * 2, "cities", (2, 2)),
    ],
)
def test_figures_draw_data_and_three_methods_and_keep_the_numbers(tmp_path, arguments, name, family, panels):
    out = succeed(*arguments, "--scale", "smoke", "--jobs", 1, "--out", "here")
    numbers, picture = (
        tmp_path / "here" / f"{n}.{end}" for n, end in zip(name, ("json", "png"), strict=True)
    )
    rows = assert_rows_are_complete(numbers, [family])
    grey, red = dark_and_red(picture, *panels)
    assert np.all(grey > 500)
    assert red[0] == 0  # the data alone
    assert np.all(red[1:] > 500)
    assert picture.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert f"wrote here/{name[1]}.png, here/{name[1]}.pdf, here/{name[0]}.json" in out
    assert f"6 runs; steps of training (two networks each): {family} 30 (2 x 16)" in out
    for method in METHODS:
        ours = np.mean([row["min_w2_sq"] for row in rows if row["method"] == method])
        (line,) = (line for line in out.splitlines() if f" {method} " in line and "±" in line)
        assert f"{ours:.3g} ± " in line


def test_the_demo_draws_both_families_and_keeps_the_numbers(tmp_path, monkeypatch):
    """With one seed: what several add is in the figures above; and sixty members to fit sources to."""
    monkeypatch.setitem(experiment.SCALES, "smoke", experiment.SCALES["smoke"]._replace(seeds=1))
    few = {name: datasets.load(name).subset(np.arange(60)) for name in demo.FAMILIES}
    for module in (experiment, demo):
        monkeypatch.setattr(module, "load", few.get)
    out = succeed("demo", "--scale", "smoke", "--jobs", 1, "--out", "here")
    assert_rows_are_complete(tmp_path / "here" / "demo.json", demo.FAMILIES, demo.scale_of)
    assert "steps of training (two networks each): cities 8 (2 x 16), niches 4 (2 x 16)" in out
    assert out.index("here/cities.png after") < out.index("min W2² to the data")  # before all are done
    for name in ("cities", "niches"):
        _, red = dark_and_red(tmp_path / "here" / f"{name}.png", 2, 2)
        assert red[2] > 10 * max(red[0], red[3], 20)  # generated; noise, data
        grey, red = dark_and_red(tmp_path / "here" / f"{name}-methods.png", 2, 2)
        assert np.all(grey > 500)
        assert red[0] == 0
        assert np.all(red[1:] > 500)


FAMILIES = ("two-moons", "sphere", "pbmc") if "REFWFM_DATA" in os.environ else ("two-moons", "sphere")


def test_table_2_has_our_numbers_beside_the_paper_s(tmp_path):
    chosen = [word for family in FAMILIES for word in ("--data", family)]
    out = succeed("reproduce", "table-2", "--scale", "smoke", "--jobs", 1, *chosen, "--out", ".")
    rows = assert_rows_are_complete(tmp_path / "table-2.json", FAMILIES)
    lines = [
        line.split() for line in out.splitlines() if any(f" {m} " in line for m in METHODS) and "±" in line
    ]
    assert len(lines) == 3 * len(FAMILIES)
    # Table 2 of the paper: two moons, Euclidean: 8.96e-4, and 1.84e-4 for the Riemannian method.
    euclidean = next(line for line in lines if line[0] == "euclidean")
    assert euclidean[-2:] == ["0.000896", "4.87"]
    ours = [
        [r["min_w2_sq"] for r in rows if (r["data"], r["method"]) == ("two-moons", method)]
        for method in ("euclidean", "riemannian")
    ]
    assert euclidean[1] == f"{np.mean(ours[0]):.3g}"
    assert euclidean[5] == f"{np.mean(ours[0]) / np.mean(ours[1]):.2f}"


def test_the_ablation_leaves_out_one_part_after_the_other(tmp_path):
    families = ("cities", "fours")
    chosen = [word for family in families for word in ("--data", family)]
    out = succeed(
        "reproduce", "ablation", "--scale", "smoke", "--seeds", 1, "--jobs", 1, *chosen, "--out", "."
    )
    rows = json.loads((tmp_path / "ablation.json").read_text())["rows"]
    assert [(row["data"], row["without"]) for row in rows] == [
        (family, part)
        for clouds, family in enumerate(families)
        for part, options in ablation.WITHOUT.items()
        if options[clouds] is not None
    ]
    for family in families:
        scores = [row["score"] for row in rows if row["data"] == family]
        assert np.all(np.isfinite(scores))
        if family == "cities":
            assert len(set(scores)) == len(scores)  # every part makes a difference
            assert f"{scores[0]:.3g}" in out
    for gaussians, clouds in ablation.WITHOUT.values():
        for kind, options in ((GaussianConfig, gaussians), (CloudConfig, clouds)):
            preset = with_preset("laptop", kind, {}, family=datasets.load("fours"))
            assert all(preset[name] != value for name, value in (options or {}).items())


def test_the_paper_s_values_stand_in_their_places():
    assert paper_value("spiral-16", "riemannian") == 2.98e-4
    assert paper_value("cities", "euclidean") == 7.26e-3
    assert paper_value("sphere", "frobenius") == 2.25e-3
    assert paper_value("niches", "riemannian") is None


def test_the_same_seed_gives_the_same_numbers_however_many_processes():
    one, two, other = (
        compare({"two-moons": SMALL}, jobs=jobs, methods=methods)
        for jobs, methods in (
            (1, ("riemannian", "frobenius")),
            (2, ("riemannian", "frobenius")),
            (1, METHODS),
        )
    )
    for a, b in zip(one, two, strict=True):
        assert a.task == b.task
        np.testing.assert_allclose(a.min_w2_sq, b.min_w2_sq, rtol=1e-5)  # other threads, other rounding
        np.testing.assert_allclose(a.generated.cov, b.generated.cov, rtol=1e-4, atol=1e-6)
    assert [o.min_w2_sq for o in one] == [o.min_w2_sq for o in other if o.task.method != "euclidean"]
    assert one[0].min_w2_sq != one[1].min_w2_sq  # another seed


@pytest.mark.parametrize("cores", [2, 4])
def test_processes_on_all_cores_have_one_thread_and_pot_without_tensors(cores, monkeypatch):
    def told(task):
        alone = POT_ALONE.items() <= os.environ.items()
        return SimpleNamespace(task=task, process=os.getpid(), jobs=joblib.effective_n_jobs(-1), alone=alone)

    before = dict(os.environ), joblib.effective_n_jobs(-1)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    for outcome in in_processes(told, [0, 1], jobs=2):
        assert outcome.process != os.getpid()
        assert outcome.alone
        assert cores > 2 or outcome.jobs == 1  # else they have what joblib gives them
    assert (dict(os.environ), joblib.effective_n_jobs(-1)) == before  # this process is not only ours
    assert in_processes(told, [0], jobs=1)[0].process == os.getpid()


def test_outcomes_come_by_family_method_and_seed_and_each_is_told_when_done():
    seen = []
    scales = dict.fromkeys(("spiral-16", "sphere"), SMALL._replace(seeds=1))
    outcomes = compare(scales, jobs=1, done=seen.append)
    assert {o.task for o in seen} == {o.task for o in outcomes}
    assert [(o.task.data, o.task.method) for o in outcomes] == [
        (name, method) for name in ("spiral-16", "sphere") for method in METHODS
    ]
    grouped = experiment.by_method(outcomes, "sphere")
    assert list(grouped) == list(METHODS)
    assert experiment.seed_means(grouped["frobenius"]).shape == (1,)


def test_finished_runs_are_kept_and_taken_when_asked_for(tmp_path):
    scales, ran, told = {"sphere": SMALL._replace(seeds=1)}, [], []

    def again(**options):
        ran.clear()
        told.clear()
        options |= {"jobs": 1, "folder": tmp_path / "runs", "done": ran.append, "unreadable": told.append}
        return compare(scales, **options)

    part = again(methods=("frobenius",))
    files = list((tmp_path / "runs").iterdir())
    assert [file.suffix for file in files] == [".npz"]
    whole = again(resume=True)
    assert len(ran) == len(METHODS) == len(list((tmp_path / "runs").iterdir()))
    kept = next(o for o in whole if o.task.method == "frobenius")
    assert kept.train_s == part[0].train_s  # the very run
    assert kept.min_w2_sq == part[0].min_w2_sq
    assert again()[0].train_s != whole[0].train_s  # without resume all run again
    assert told == []
    foreign = next(file for file in (tmp_path / "runs").iterdir() if file != files[0])
    for content, reason in (
        (files[0].read_bytes()[:100], "truncated or foreign"),
        (foreign.read_bytes(), "another"),
    ):
        files[0].write_bytes(content)  # what cannot be read runs again, and one line says so
        redone = next(o for o in again(resume=True) if o.task.method == "frobenius")
        assert redone.min_w2_sq == kept.min_w2_sq
        (line,) = told
        assert files[0].name in line
        assert reason in line
    scales["sphere"] = scales["sphere"]._replace(size=3)  # other settings are other runs
    assert again(resume=True)[0].task.scale.size == 3
    assert len(list((tmp_path / "runs").iterdir())) == 2 * len(METHODS)


def test_a_resumed_table_is_the_same_and_a_broken_run_is_one_line(tmp_path):
    command = ("reproduce", "table-2", "--data", "sphere", "--scale", "smoke", "--steps", 3, "--jobs", 1)
    command += ("--out", tmp_path)
    succeed(*command)
    rows = (tmp_path / "table-2.json").read_bytes()
    said = succeed(*command, "--resume")
    assert (tmp_path / "table-2.json").read_bytes() == rows  # with the times of the first runs
    assert "done again" not in said
    (tmp_path / "table-2-runs" / "old.joblib").write_bytes(b"a pickle")
    broken = next((tmp_path / "table-2-runs").glob("*.npz"))
    broken.write_bytes(b"not an archive")
    said = succeed(*command, "--resume")
    assert said.count("that run is done again") == 1
    assert "old.joblib" not in said


def test_a_long_run_decays_its_rate_a_hundred_times_like_the_paper_s():
    for scale in experiment.SCALES.values():
        config = scale.config("riemannian", 0, datasets.load("cities"))
        last = algorithm.learning_rate(config, scale.steps) / config.learning_rate
        wanted = 0.97 ** (scale.steps / max(1, scale.steps // 100)) if scale.preset == "paper" else 0.0
        assert last == pytest.approx(wanted, abs=1e-15)
    assert experiment.SCALES["paper"].config("riemannian", 0, datasets.load("cities")).decay_every == 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("reproduce", "figure-9"), ("unknown figure or table 'figure-9'", *FIGURES)),
        (("reproduce", "table-2", "--data", "citys"), ("unknown family 'citys'", "cities")),
        (("reproduce", "table-2", "--data", "cities", "--data", "no.npz"), ("no such file: no.npz",)),
        (("reproduce", "figure-2", "--data", "cities"), ("--data is for tables", "spiral-128")),
        (("demo", "--out", "taken"), ("taken",)),
    ],
)
def test_what_cannot_be_reproduced_is_one_line_before_any_training(tmp_path, arguments, words, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setattr(experiment, "run", None)
    assert_error(refwfm(*arguments, "--scale", "smoke"), *words)


@pytest.mark.parametrize("command", [("demo",), ("reproduce", "table-2")])
def test_without_matplotlib_it_is_one_line(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert_error(refwfm(*command, "--scale", "smoke"), 'pip install "refwfm[figures]"')


def test_without_matplotlib_training_says_so_and_goes_on(monkeypatch):
    for module in [m for m in sys.modules if m.startswith("matplotlib") or m.endswith("figures.comparison")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    arguments = ("--steps", 2, "--width", 4, "--depth", 1, "--batch", 4, "--data", "spiral-16")
    out = succeed("train", *arguments, "--out", "here")
    assert 'no picture: it needs matplotlib (pip install "refwfm[figures]")' in out
    assert "min W2²" in out


# The picture


def family(mean, cov):
    return datasets.Family(name="some", gaussians=Gaussian(np.asarray(mean), np.asarray(cov)))


def drawn(data, generated, path, monkeypatch):
    """The numbers of ellipses in each panel, grey before red."""
    from refwfm.paper_figures import comparison

    counts, plain = [], comparison.draw_ellipses
    monkeypatch.setattr(
        comparison, "draw_ellipses", lambda ax, mu, **how: (counts.append(len(mu.mean)), plain(ax, mu, **how))
    )
    draw_comparison(data, {"a": generated}, path)
    return counts


def test_large_families_are_thinned_and_the_title_says_so(tmp_path, monkeypatch):
    niches = datasets.load("niches-16")
    grey, *_, red = drawn(niches, niches.gaussians, tmp_path / "a.png", monkeypatch)
    assert 8 <= grey < 400
    assert 8 <= red <= max(grey, 64)
    moons = datasets.load("two-moons")  # thin ones: there is room for all
    assert drawn(moons, moons.gaussians, tmp_path / "b.png", monkeypatch)[0] == len(moons)


@pytest.mark.parametrize(
    "data",
    [
        family(np.zeros((3, 2)), np.zeros((3, 2, 2))),  # three times the same point
        family(np.zeros((1, 2)), np.eye(2)[None]),
        family([[0.0, 0], [0, 1000]], np.zeros((2, 2, 2))),  # points above each other
        family([[0.0, 0], [1e9, 1]], 1e-9 * np.eye(2)[None].repeat(2, axis=0)),
        family([[0.0, 0, 0], [1, 1, 1]], np.ones((2, 3, 3))),
    ],
)
def test_degenerate_families_can_be_drawn(tmp_path, data):
    draw_comparison(data, {"a": data.gaussians}, tmp_path / "a.png")
    assert matplotlib.image.imread(tmp_path / "a.png").shape[0] < 4000


def test_one_stray_gaussian_does_not_shrink_the_picture(tmp_path):
    spiral = datasets.load("spiral-16")
    stray = Gaussian(np.array([[1e6, 0.0]]), np.eye(2)[None])
    draw_comparison(spiral, {"a": stray}, tmp_path / "a.png")
    grey, _ = dark_and_red(tmp_path / "a.png", 1, 2)
    assert np.all(grey > 500)

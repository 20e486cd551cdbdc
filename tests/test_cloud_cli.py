"""Point clouds on the command line: train, generate, evaluate, resume, and what goes wrong."""

import json
import os

import numpy as np
import pytest
from command import assert_error, refwfm, succeed

from refwfm.datasets import CloudFamily, clouds_from_arrays, load, save_family
from refwfm.paper_figures import cloud_experiment, demo_clouds

TINY = (
    "--steps",
    4,
    "--batch",
    3,
    "--width",
    8,
    "--depth",
    1,
    "--heads",
    2,
    "--hidden",
    8,
    "--n-frequencies",
    2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two small families in files, and a run trained on the first."""
    place = tmp_path_factory.mktemp("clouds")
    rng = np.random.default_rng(0)
    for name, counts, labels in (
        ("blobs", (5, 3, 6, 4, 5, 4), [0, 1, 0, 1, 0, 1]),
        ("rings", (4, 7, 5), None),
    ):
        arrays = [rng.standard_normal((n, 2)) + 3.0 * (name == "rings") for n in counts]
        names = ("round", "flat") if labels else ()
        save_family(
            place / f"{name}.npz", clouds_from_arrays(arrays, labels=labels, label_names=names, name=name)
        )
    said = succeed("train", "--data", place / "blobs.npz", *TINY, "--out", place / "run", "--log-every", 2)
    assert "clouds on blobs: 6 clouds of 3 to 6 points in 2-D" in said
    assert "compared with itself" in said
    assert "1-NN accuracy against 6 clouds of blobs" in said
    return place


def test_a_run_leaves_its_files(folder):
    assert (folder / "run" / "figures" / "generated.png").stat().st_size > 1000
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert all(0 < line["plan_error"] < 2 for line in lines)
    config = (folder / "run" / "config.toml").read_text()
    assert 'inner = "auto"' in config
    assert "label_drop = 0.1" in config


def test_generate_writes_a_family(folder, tmp_path):
    out, figure = tmp_path / "new.npz", tmp_path / "new.png"
    options = ("--size", 4, "--steps", 3, "--points", 9, "--guidance", 1.5, "--integrator", "heun")
    succeed("generate", folder / "run", *options, "--label", "flat", "--out", out, "--figure", figure)
    family = load(out)
    assert isinstance(family, CloudFamily)
    np.testing.assert_array_equal(family.sizes, 9)
    np.testing.assert_array_equal(family.labels, 1)
    assert figure.stat().st_size > 1000
    own = tmp_path / "own.npz"
    succeed("generate", folder / "run", "--size", 8, "--steps", 2, "--out", own)
    assert set(load(own).sizes) <= {3, 4, 5, 6}


def test_evaluate_compares_with_the_source_and_with_real_clouds(folder):
    found = json.loads(
        succeed("evaluate", folder / "run", "--size", 5, "--seeds", 2, "--steps", 2, "--json").splitlines()[
            -1
        ]
    )
    for name in (
        "one_nn_chamfer",
        "one_nn_emd",
        "source_one_nn_chamfer",
        "copy_rate",
        "real_copy_rate",
        "coverage",
        "label_accuracy",
    ):
        assert len(found[name]) == 2
        assert all(0 <= value <= 1 for value in found[name])
    assert "real_one_nn_emd" not in found  # nothing is held out: they would be compared with themselves
    assert "none held out" in found["compared_with"]
    table = succeed(
        "evaluate",
        folder / "run",
        "--data",
        folder / "blobs.npz",
        "--size",
        4,
        "--seeds",
        1,
        "--emd",
        "squared",
    )
    assert "EMD: exact, of squared distances" in table


def test_a_flow_between_families(folder, tmp_path):
    run = tmp_path / "between"
    succeed(
        "train",
        "--data",
        folder / "rings.npz",
        "--source",
        folder / "blobs.npz",
        *TINY,
        "--out",
        run,
        "--inner",
        "exact",
    )
    assert 'source = "family"' in (run / "config.toml").read_text()
    succeed("generate", run, "--size", 3, "--steps", 2, "--out", tmp_path / "moved.npz")
    assert set(load(tmp_path / "moved.npz").sizes) <= {3, 4, 5, 6}
    succeed("evaluate", run, "--size", 3, "--seeds", 1, "--steps", 1)
    assert_error(
        refwfm("generate", next((run / "checkpoints").glob("*")).rename(tmp_path / "alone.safetensors")),
        "from which family",
    )


@pytest.mark.usefixtures("undrawn")
def test_a_run_is_continued_from_its_own_source_family_only(folder, tmp_path):
    rings, blobs = folder / "rings.npz", folder / "blobs.npz"
    options = ("--data", blobs, *TINY, "--inner", "exact", "--out", tmp_path / "run")
    succeed("train", *options, "--source", rings)
    other = ("train", *options[:2], "--resume", "--steps", 6, "--out", tmp_path / "run")
    assert_error(refwfm(*other, "--source", blobs), "trained with another source family")
    succeed(*other, "--source", rings)


@pytest.mark.usefixtures("undrawn")
def test_a_source_named_beside_the_data_in_a_file_is_used(folder, tmp_path):
    file = tmp_path / "a.toml"
    file.write_text(f"[run]\ndata = '{folder / 'blobs.npz'}'\nsource = '{folder / 'rings.npz'}'\n")
    succeed("train", "--config", file, *TINY, "--inner", "exact", "--out", tmp_path / "run")
    assert 'source = "family"' in (tmp_path / "run" / "config.toml").read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_run_of_the_other_kind_is_not_continued(folder, tmp_path):
    succeed(
        "train", "--data", "spiral-16", "--steps", 2, "--width", 4, "--depth", 1, "--out", tmp_path / "run"
    )
    file = tmp_path / "a.toml"
    file.write_text(f"[run]\ndata = '{folder / 'blobs.npz'}'\n[train]\nsteps = 4\nwidth = 4\ndepth = 1\n")
    result = refwfm("train", "--resume", "--config", file, "--out", tmp_path / "run")
    assert_error(result, "holds a model of gaussians, and this is one of clouds")


@pytest.mark.usefixtures("undrawn")
def test_a_resumed_run_ends_with_the_same_numbers(folder, tmp_path):
    options = (
        "--data",
        folder / "blobs.npz",
        *TINY[2:],
        "--outer",
        "frechet",
        "--log-every",
        2,
        "--checkpoint-every",
        2,
    )
    succeed("train", *options, "--steps", 8, "--out", tmp_path / "whole")
    succeed("train", *options, "--steps", 4, "--out", tmp_path / "halves")
    succeed("train", *options, "--steps", 8, "--out", tmp_path / "halves", "--resume")
    ends = [
        (tmp_path / name / "checkpoints" / "00000008.safetensors").read_bytes()
        for name in ("whole", "halves")
    ]
    assert ends[0] == ends[1]
    start = (tmp_path / "halves" / "checkpoints" / "00000006.safetensors").read_bytes()
    assert start != ends[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--df", 3), ("df is an option for Gaussians",)),
        (("--method", "riemannian"), ("method is an option for Gaussians",)),
        (("--inner", "best"), ("inner must be one of auto, independent",)),
        (("--source", "nowhere"), ("unknown family 'nowhere'",)),
        (("--source", "cities"), ("cities is a family of Gaussians",)),
        (("--source", "family"), ("needs the family's name",)),
        (("--source-size", "any"), ("source_size must be one of",)),
        (("--eps", 0), ("eps must be finite and positive",)),
        (("--heads", 3), ("multiple of heads",)),
        (("--outer", "paired"), ("one member for each target",)),
    ],
)
def test_wrong_options(folder, tmp_path, arguments, words):
    result = refwfm("train", "--data", folder / "blobs.npz", *TINY, *arguments, "--out", tmp_path / "run")
    assert_error(result, *words)


@pytest.mark.usefixtures("undrawn")
def test_options_of_clouds_are_refused_for_gaussians(tmp_path):
    assert_error(
        refwfm("train", "--data", "cities", "--heads", 2, "--out", tmp_path / "a"),
        "heads is an option for point clouds",
    )
    tiny = ("--steps", 2, "--width", 4, "--depth", 1, "--batch", 4)
    succeed("train", "--data", "cities", *tiny, "--out", tmp_path / "b")
    out = tmp_path / "new.npz"
    assert_error(
        refwfm("generate", tmp_path / "b", "--points", 3, "--out", out), "are for models over point clouds"
    )
    assert_error(refwfm("evaluate", tmp_path / "b", "--data", "fours"), "the model generates Gaussians")


def test_a_misspelt_option_is_refused(folder, tmp_path):
    assert refwfm("train", "--data", folder / "blobs.npz", "--iner", "exact").exit_code == 2
    path = tmp_path / "run.toml"
    path.write_text("[train]\niner = 'exact'\n")
    assert_error(refwfm("train", "--config", path), "unknown name 'iner' in [train]")


def test_a_model_of_clouds_is_compared_with_clouds_of_its_dimension(folder):
    assert_error(
        refwfm("evaluate", folder / "run", "--data", "niches-clouds"), "the model generates measures in 2-D"
    )
    assert_error(refwfm("evaluate", folder / "run", "--data", "cities"), "the model generates point clouds")
    assert_error(refwfm("evaluate", folder / "run", "--emd", "cubed"), "--emd must be euclidean or squared")


def test_the_demo_of_clouds(tmp_path, monkeypatch):
    """With one seed: tables have two."""
    monkeypatch.setattr(demo_clouds, "SMOKE", demo_clouds.SMOKE._replace(seeds=1))
    said = succeed("demo", "clouds", "--scale", "smoke", "--out", tmp_path, "--jobs", 1)
    assert "random pairing" in said
    assert (tmp_path / "fours.png").stat().st_size > 1000
    rows = json.loads((tmp_path / "demo-clouds.json").read_text())["rows"]
    assert len(rows) == 2
    assert {row["inner"] for row in rows} == {"exact", "independent"}


@pytest.mark.parametrize("name", ["table-4", "figure-5"])
def test_tables_and_figures_of_what_ships(tmp_path, name, monkeypatch):
    """After a few steps: half the time would go into Sinkhorn's iterations of the others."""
    monkeypatch.setattr(cloud_experiment, "SMOKE", cloud_experiment.SMOKE.of(steps=4))
    only = ("--data", "fours", "--data", "niches-clouds") if name == "table-4" else ()
    succeed("reproduce", name, "--scale", "smoke", "--out", tmp_path, "--jobs", 1, *only, REFWFM_DATA=None)
    assert (tmp_path / f"{name}.json").exists()
    if name == "figure-5":
        assert (tmp_path / "figure-5.png").stat().st_size > 1000
        assert (tmp_path / "figure-6.png").stat().st_size > 1000


@pytest.mark.skipif("REFWFM_DATA" not in os.environ, reason="data that do not ship")
@pytest.mark.parametrize("name", ["table-3", "figure-3", "figure-4", "figure-s5"])
def test_tables_and_figures_of_other_data(tmp_path, name):
    succeed("reproduce", name, "--scale", "smoke", "--out", tmp_path, "--jobs", 1)
    assert (tmp_path / f"{name}.json").exists()


def test_unknown_data_of_a_table(tmp_path):
    result = refwfm("reproduce", "table-4", "--data", "cities", "--scale", "smoke", "--out", tmp_path)
    assert_error(result, "--data must be among fours, letters-a, niches-clouds; got cities")

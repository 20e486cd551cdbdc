"""Members that a run holds out: which, how they are kept, and what evaluation compares with."""

import json
from dataclasses import replace

import numpy as np
import pytest
from command import assert_error, refwfm, succeed
from hypothesis import given
from hypothesis import strategies as st

from refwfm.cli import cloud_runs
from refwfm.datasets import clouds_from_arrays, gaussians_of, hold_out, load, save_family, split
from refwfm.runs.config_file import read_config

TINY = ("--steps", 2, "--batch", 3, "--width", 8, "--depth", 1, "--n-frequencies", 2)
CLOUD = ("--heads", 2, "--hidden", 8)


def family_of(n, labels=None, name="own", **columns):
    """Clouds of three points whose first coordinate is the number of the member."""
    points = np.random.default_rng(0).standard_normal((n, 3, 2))
    points[:, 0, 0] = np.arange(n)
    family = clouds_from_arrays(points, labels=labels, name=name)
    return replace(family, groups={key: np.array(values) for key, values in columns.items()})


def members(family):
    return family.points[family.offsets[:-1], 0].astype(int).tolist()


# --- which members


def test_a_share_is_that_of_split():
    family = family_of(40, labels=[0] * 30 + [1] * 10)
    training, held = hold_out(family, "0.1", seed=3)
    for got, want in zip((training, held), split(family, held_out=0.1, seed=3), strict=True):
        assert members(got) == members(want)
    assert np.bincount(held.labels).tolist() == [3, 1]
    assert (training.name, held.name) == ("own", "own, held out")
    assert members(hold_out(family, "0.1", seed=4)[1]) != members(held)


@given(n=st.integers(2, 60), share=st.floats(0.05, 0.9), seed=st.integers(0, 9), classes=st.integers(1, 9))
def test_nothing_is_lost_or_twice(n, share, seed, classes):
    family = family_of(n, labels=[str(i % classes) for i in range(n)])
    counts = [round(share * (n // classes + (i < n % classes))) for i in range(classes)]
    if sum(counts) == n or not (sum(counts) or round(share * n)):
        with pytest.raises(ValueError, match=f"would hold out {sum(counts)} of the {n}"):
            hold_out(family, str(share), seed=seed)
        return
    training, held = hold_out(family, str(share), seed=seed)
    assert len(held) == (sum(counts) or round(share * n))
    assert sorted(members(training) + members(held)) == list(range(n))
    assert members(training) == sorted(members(training))


def test_classes_too_small_for_a_share_are_drawn_from_together():
    family = family_of(20, labels=list("abcdefghijklmnopqrst"))
    assert len(hold_out(family, "0.1")[1]) == 2


def test_values_of_a_column():
    family = family_of(6, labels=list("xyxyxy"), region=["a", "b,c", "d", "a", "b,c", "b"])
    for how, want in (
        ("region=a", [0, 3]),
        ("region=d,a", [0, 2, 3]),
        ("region=b,c", [1, 4]),  # a value with a comma
        ("label=y", [1, 3, 5]),
    ):
        training, held = hold_out(family, how)
        assert members(held) == want
        assert members(training) == [i for i in range(6) if i not in want]
        assert set(held.groups["region"]) <= {family.groups["region"][i] for i in want}


def test_whole_values_of_a_column():
    sections = np.repeat([f"s{i:02}" for i in range(30)], 2)
    family = family_of(60, section=sections)
    seen = set()
    for seed in range(5):
        training, held = hold_out(family, "section", seed=seed)
        assert len(held) == 6  # a tenth
        assert not set(held.groups["section"]) & set(training.groups["section"])
        seen.add(tuple(members(held)))
    assert len(seen) == 5
    two = family_of(8, section=list("aaaabbbb"))
    assert len(hold_out(two, "section")[1]) == 4  # at least one


def test_nothing_is_held_out_by_zero():
    family = family_of(3)
    for how in ("0", "0.0"):
        assert hold_out(family, how) == (family, None)


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ("1", r"a share must lie in \[0, 1\); got 1"),
        ("-0.1", r"a share must lie in \[0, 1\); got -0.1"),
        ("nan", r"a share must lie in \[0, 1\); got nan"),
        ("0.01", "would hold out 0 of the 6 members"),
        ("region=e", "no member of family 'own' has region e; there are a, b"),
        ("region=a,b", "would hold out 6 of the 6 members"),
        ("region=", "no member of family 'own' has region ; there are"),
        ("place=a", "COLUMN=VALUE,VALUE or COLUMN; got 'place=a', and family 'own' has region"),
        ("tenth", "got 'tenth', and family 'own' has region"),
    ],
)
def test_what_cannot_be_held_out(how, match):
    with pytest.raises(ValueError, match=match):
        hold_out(family_of(6, region=list("ababab")), how)


# --- runs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("own")
    family = family_of(40, labels=["x", "y"] * 20, region=["a"] * 30 + ["b"] * 10)
    save_family(place / "clouds.npz", family)
    save_family(place / "gaussians.npz", gaussians_of(family))
    save_family(place / "few.npz", family.subset(np.arange(19)))
    return place


@pytest.fixture
def quick(undrawn, monkeypatch):
    """Few clouds are measured, and no picture is drawn: training ends with both."""
    monkeypatch.setattr(cloud_runs, "QUICK", 6)


@pytest.mark.usefixtures("quick")
def test_a_tenth_of_ones_own_clouds_is_held_out(place, tmp_path):
    run = tmp_path / "run"
    said = succeed("train", "--data", place / "clouds.npz", *TINY, *CLOUD, "--seed", 5, "--out", run)
    assert "held out: 4 of the 40 members, by --hold-out 0.1" in said
    assert "36 clouds of 3 points" in said
    assert "against 4 clouds of own, held out" in said
    assert read_config(run / "config.toml")[0]["hold_out"] == "0.1"
    said = succeed("evaluate", run, "--seeds", 1, "--steps", 1)
    assert "on own, held out, step 2" in said
    assert "compared with the 4 members that the run held out; it was trained on 36" in said
    numbers = json.loads(succeed("evaluate", run, "--seeds", 1, "--steps", 1, "--json"))
    assert numbers["data"] == "own, held out"
    # Of four clouds, real ones of the training part are other clouds: their distance is not 0.
    own = json.loads(
        succeed("evaluate", run, "--data", place / "clouds.npz", "--size", 6, "--seeds", 1, "--json")
    )
    assert own["data"] == "own"
    # A resume has the same members, and refuses others.
    resumed = succeed("train", "--resume", "--out", run, "--steps", 3)
    assert "held out: 4 of the 40 members" in resumed
    assert_error(
        refwfm("train", "--resume", "--out", run, "--steps", 4, "--hold-out", 0.2),
        "was started with hold_out = 0.1 (now 0.2)",
    )


@pytest.mark.usefixtures("quick")
def test_gaussians_are_compared_with_others_than_they_learned(place, tmp_path):
    run = tmp_path / "run"
    said = succeed("train", "--data", place / "gaussians.npz", *TINY, "--hold-out", "region=b", "--out", run)
    assert "held out: 10 of the 40 members, by --hold-out region=b" in said
    assert "min W2² to own, held out" in said
    said = succeed("evaluate", run, "--size", 5, "--seeds", 2)
    assert "compared with the 10 members that the run held out; it was trained on 30" in said
    assert "min W2² of the members that it was trained on" in said
    numbers = json.loads(succeed("evaluate", run, "--size", 5, "--seeds", 1, "--json"))
    family = load(place / "gaussians.npz")
    means = family.gaussians.mean
    least = ((means[:30, None] - means[None, 30:]) ** 2).sum(axis=-1).min(axis=1).mean()
    assert numbers["real_min_w2_sq"][0] > least  # which leaves out the covariances
    plain = json.loads(
        succeed("evaluate", run, "--data", place / "gaussians.npz", "--size", 5, "--seeds", 1, "--json")
    )
    assert "real_min_w2_sq" not in plain
    assert plain["min_w2_sq"] < numbers["min_w2_sq"]


@pytest.mark.usefixtures("quick")
def test_when_nothing_is_held_out(place, tmp_path):
    said = succeed("train", "--data", place / "few.npz", *TINY, *CLOUD, "--out", tmp_path / "few")
    assert "nothing held out: own has only 19 members" in said
    assert "is compared with itself" in said
    asked = succeed(
        "train", "--data", place / "clouds.npz", *TINY, *CLOUD, "--hold-out", 0, "--out", tmp_path / "a"
    )
    assert "held out:" not in asked
    assert "40 clouds of" in asked
    named = succeed("train", "--data", "spiral-16", *TINY, "--out", tmp_path / "b")
    assert "held out:" not in named
    assert "the 16 training members (none held out)" in named
    assert "hold_out" not in read_config(tmp_path / "b" / "config.toml")[0]
    some = succeed("train", "--data", "spiral-16", *TINY, "--hold-out", 0.25, "--out", tmp_path / "c")
    assert "held out: 4 of the 16 members" in some


@pytest.mark.usefixtures("quick")
def test_a_run_from_before_there_was_the_option_goes_on_with_all(place, tmp_path):
    run = tmp_path / "run"
    succeed("train", "--data", place / "clouds.npz", *TINY, *CLOUD, "--hold-out", 0, "--out", run)
    config = run / "config.toml"
    config.write_text(config.read_text().replace('hold_out = "0"\n', ""))
    assert "hold_out" not in config.read_text()
    assert "40 clouds of" in succeed("train", "--resume", "--out", run, "--steps", 3)
    assert "is compared with itself" in succeed("evaluate", run, "--size", 6, "--seeds", 1, "--steps", 1)


@pytest.mark.usefixtures("quick")
def test_paired_families_and_populations_stay_whole(place, tmp_path):
    paired = ("--source", place / "clouds.npz", "--outer", "paired", "--out", tmp_path / "a")
    given = ("train", "--data", place / "clouds.npz", *TINY, *CLOUD, *paired)
    assert_error(refwfm(*given, "--hold-out", 0.1), "--hold-out 0.1: a paired plan needs every member")
    assert "40 clouds of" in succeed(*given)
    meta = refwfm(
        "train", "--kind", "meta-ot", "--data", "strokes", "--hold-out", 0.1, "--out", tmp_path / "b"
    )
    assert_error(meta, "pairs and populations have their own parts")


@pytest.mark.usefixtures("quick")
def test_pairs_of_ones_own_clouds_are_held_out_too(place, tmp_path):
    tiny = ("--kind", "meta-ot", "--steps", 1, "--batch", 2, "--width", 4)
    said = succeed("train", *tiny, "--data", place / "clouds.npz", "--out", tmp_path / "run")
    assert "held out: 4 of the 40 members" in said
    assert "pairs of own, held out" in said

"""How far something is: a bar on a terminal, elsewhere a line now and then, and nothing of what is short."""

import io
import json

import numpy as np
import pytest
from command import succeed
from rich.console import Console

from refwfm import datasets
from refwfm.cli import _common

SMALL = ("--steps", 2, "--batch", 3, "--width", 8, "--depth", 1, "--quiet", "--out", "run")
CLOUD = ("--heads", 2, "--hidden", 8, "--n-frequencies", 2)


def test_lines_tell_how_much_is_to_come(monkeypatch, capsys):
    clock = iter([0.0, 10.0, 31.0, 40.0, 90.0, 100.0])
    monkeypatch.setattr(_common.time, "monotonic", lambda: next(clock))
    with _common.progress("moving", 1000) as done:
        for count in (100, 250, 300, 900, 1000):
            done(count)
    out = capsys.readouterr().out
    assert out == "moving: 250 of 1,000, about 93 s to come\nmoving: 900 of 1,000, about 10 s to come\n"


def test_a_bar_on_a_terminal(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(_common, "console", Console(file=screen, force_terminal=True, width=80))
    with _common.progress("moving", 4) as done:
        done(3)
    assert "moving" in screen.getvalue()
    assert "3/4" in screen.getvalue()


@pytest.mark.parametrize(
    ("kind", "words"),
    [("clouds", ("generating: 6 of 7,", "comparing: ")), ("gaussians", ("generating: 25 of 50,",))],
)
def test_the_closing_evaluation_says_how_far_it_is(monkeypatch, tmp_path, rng, undrawn, kind, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_common, "EVERY", 0.0)
    family = datasets.clouds_from_arrays(rng.standard_normal((7, 4, 2)))
    datasets.save_family("f.npz", family if kind == "clouds" else datasets.gaussians_of(family))
    said = succeed("train", "--data", "f.npz", *SMALL, *(CLOUD if kind == "clouds" else ()))
    for word in words:
        assert word in said
    said = succeed("evaluate", "run", "--size", 5, "--seeds", 2, "--steps", 4)
    done = [int(line.split()[1]) for line in said.splitlines() if line.startswith("evaluating: ")]
    assert len(done) > 3
    assert done == sorted(done)
    assert (np.diff(done) >= 0).all()
    assert f"of {70 if kind == 'clouds' else 8}," in said


@pytest.mark.parametrize("name", ["cities", "fours"])
def test_json_stands_alone_however_long_it_takes(monkeypatch, name):
    monkeypatch.setattr(_common, "EVERY", -1.0)
    json.loads(succeed("evaluate", name, "--size", 6, "--steps", 2, "--seeds", 1, "--json"))
    assert " to come" in succeed("evaluate", name, "--size", 6, "--steps", 2, "--seeds", 1)

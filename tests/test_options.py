"""Options: declared once, checked by the constructor, offered by the command and by TOML files."""

from dataclasses import MISSING, dataclass, fields
from typing import ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from refwfm.cli import app
from refwfm.runs.config_file import TABLES, RunOptions, read_config
from refwfm.training.config import CloudConfig, GaussianConfig
from refwfm.training.options import check_options, option, options_of

CONFIGURATIONS = (GaussianConfig, CloudConfig, RunOptions)


@dataclass(frozen=True, kw_only=True)
class Base:
    PANEL: ClassVar[str] = "Base"

    size: int = option(help="How many.", low=1)
    rate: float = option(0.5, "How fast.", above=0, below=1)
    shape: str = option("round", "Which shape.", choices={"round": 1, "square": 2})
    limit: int | None = option(None, "How many at most.", low=1)
    loud: bool = option(False, "Whether to shout.")

    def __post_init__(self):
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class Derived(Base):
    PANEL: ClassVar[str] = "Derived"

    size: int = 4
    colour: str = option("red", "Which colour.")


def test_a_new_default_keeps_what_the_option_is():
    size = options_of(Derived)["size"]
    assert (size.default, size.help, size.panel, size.low) == (4, "How many.", "Base", 1)
    assert options_of(Derived)["colour"].panel == "Derived"
    assert options_of(Base)["size"].default is MISSING
    assert options_of(Base)["shape"].choices == ("round", "square")
    assert options_of(Base)["limit"].optional
    assert Derived(size=2, limit=None, rate=0.25).size == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "size must be at least 1; got 0"),
        ({"size": True}, "size must be of type int; got True"),
        ({"size": None}, "size must be of type int; got None"),
        ({"rate": 1}, "rate must be finite, positive and less than 1; got 1"),
        ({"rate": float("nan")}, "rate must be finite, positive and less than 1; got nan"),
        ({"rate": "fast"}, "rate must be of type float; got 'fast'"),
        ({"shape": "flat"}, "shape must be one of round, square; got 'flat'"),
        ({"limit": 0}, "limit must be at least 1; got 0"),
        ({"loud": 1}, "loud must be of type bool; got 1"),
    ],
)
def test_what_an_option_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        Derived(**changes)


def test_a_field_that_is_no_option_is_noticed():
    @dataclass
    class Forgotten:
        size: int = 3

    with pytest.raises(TypeError, match=r"Forgotten\.size is no option"):
        options_of(Forgotten)


def test_an_option_that_is_declared_again_is_what_the_nearest_class_says():
    @dataclass(frozen=True, kw_only=True)
    class Again(Derived):
        PANEL: ClassVar[str] = "Again"

        rate: float = option(2.0, "How fast now.", low=1)

    rate = options_of(Again)["rate"]
    assert (rate.default, rate.help, rate.panel, rate.low) == (2.0, "How fast now.", "Again", 1)


@pytest.mark.parametrize(
    "values", ["source = 3", "source = [3]", "steps = 'six'", "eps = true", "inner = 1.5"]
)
def test_types_in_a_file_are_checked_and_the_file_named(tmp_path, values):
    path = tmp_path / "a.toml"
    path.write_text(f"[train]\n{values}\n")
    with pytest.raises(ValueError, match=rf"a\.toml: {values.split()[0]} must be of type"):
        read_config(path)


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_every_option_is_a_sentence_and_its_default_is_allowed(kind):
    for each in options_of(kind).values():
        assert each.help.endswith(".")
        assert each.help[0].isupper()
    check_options(kind())


def test_every_option_is_on_the_command_line_and_in_files(tmp_path):
    text = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["train", "--help"]).output
    for kind in CONFIGURATIONS:
        for each in fields(kind):
            assert f"--{each.name.replace('_', '-')} " in text
    assert {each.name for each in fields(RunOptions)} == set(TABLES["run"])
    values = {"run": RunOptions(), "train": CloudConfig(n_points=3)}
    lines = []
    for table, instance in values.items():
        lines.append(f"[{table}]")
        for each in options_of(type(instance)).values():
            value = getattr(instance, each.name)
            if value is not None:
                written = str(value).lower() if isinstance(value, bool) else repr(value)
                lines.append(f"{each.name} = {written}")
    path = tmp_path / "all.toml"
    path.write_text("\n".join(lines))
    run, train = read_config(path)
    assert RunOptions(**run) == values["run"]
    assert CloudConfig(**train) == values["train"]


@pytest.mark.parametrize("steps", [np.int64(4), np.int32(4), np.uint8(4)], ids=repr)
def test_numpys_numbers_are_numbers(steps):
    config = GaussianConfig(steps=steps, learning_rate=np.float32(0.5), conditional=np.bool_(True))
    assert (type(config.steps), config.steps) == (int, 4)
    assert (type(config.learning_rate), config.learning_rate, config.conditional) == (float, 0.5, True)
    with pytest.raises(ValueError, match=r"steps must be of type int; got 4\.0"):
        GaussianConfig(steps=np.float64(4.0))

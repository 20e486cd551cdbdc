"""Results in files: what is read is what was written, bit for bit, and nothing else is."""

import pickle
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from refwfm.measures import Gaussian
from refwfm.paper_figures import cloud_experiment, experiment
from refwfm.paper_figures.cloud_experiment import CloudTask
from refwfm.paper_figures.gwfm import experiment as gwfm_experiment
from refwfm.storage import records
from refwfm.storage.records import RecordError
from refwfm.transport.stability import Laziness


class Inner(NamedTuple):
    value: Any


class Outer(NamedTuple):
    inner: Any
    others: Any = ()


KINDS = (Outer, Inner)


def assert_same(a, b):
    """The same types, all the way down, and the same bits."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray | np.generic):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for name in a:
            assert_same(a[name], b[name])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert repr(a) == repr(b)


def through_a_file(record, kinds, folder):
    records.save(folder / "a.npz", record)
    return records.load(folder / "a.npz", kinds)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | hnp.arrays(st.sampled_from(["<f4", "<f8", "<i8", "?"]), hnp.array_shapes(min_dims=0, min_side=0))
    | st.floats().map(np.float64)
    | st.floats(width=32).map(np.float32)
)


@given(
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner)
            | st.lists(inner).map(tuple)
            | st.dictionaries(st.integers() | st.text(), inner)
            | st.builds(Inner, inner)
        ),
        max_leaves=8,
    )
)
def test_what_is_read_is_what_was_written(tmp_path_factory, value):
    record = Outer(value)
    assert_same(through_a_file(record, KINDS, tmp_path_factory.getbasetemp()), record)


def test_outcomes_for_gaussians(tmp_path):
    scale = experiment.SCALES["smoke"]._replace(steps=2, width=4, depth=1, size=6, n_steps=2)
    outcome = experiment.run(experiment.Task("two-moons", "riemannian", 0, scale, None))
    assert isinstance(outcome.generated, Gaussian)
    assert_same(through_a_file(outcome, experiment.RECORDS, tmp_path), outcome)


def test_outcomes_for_clouds(tmp_path):
    scale = cloud_experiment.SMOKE.of(steps=2)._replace(size=4, n_steps=2)
    outcome = cloud_experiment.run(CloudTask("fours", "WFM", 0, scale, None))
    assert_same(through_a_file(outcome, cloud_experiment.RECORDS, tmp_path), outcome)


def test_outcomes_for_couplings_with_their_laziness(tmp_path):
    scale = gwfm_experiment.scale_of("smoke", laptop={}, paper={}, outer="sliced", inner="sliced")
    scale = scale.of(steps=2)._replace(evaluations=1)
    outcome = gwfm_experiment.run(CloudTask("circles", "sliced/sliced", 0, scale, None, "small-circles"))
    lazy = Laziness(0.5, 1.25, 0.0, *np.random.default_rng(0).random((3, 7)))
    for record in (outcome, outcome._replace(laziness=lazy)):
        assert_same(through_a_file(record, gwfm_experiment.RECORDS, tmp_path), record)
    assert outcome.straightness


def test_the_digest_is_that_of_the_values():
    scale = cloud_experiment.SMOKE
    task = CloudTask("fours", "WFM", 0, scale, None)
    assert records.digest(task) == records.digest(CloudTask("fours", "WFM", 0, scale.of(), None))
    others = (task._replace(seed=1), task._replace(scale=scale.of(steps=21)), tuple(task))
    assert len({records.digest(each) for each in (task, *others)}) == 4
    with pytest.raises(TypeError, match="no digest"):
        records.digest(Inner(np.zeros(2)))


@pytest.mark.parametrize("part", [np.array([None]), {1}, object(), b"bytes", 1j])
def test_what_cannot_be_kept_is_refused_and_leaves_no_file(tmp_path, part):
    with pytest.raises(TypeError, match="cannot be kept"):
        records.save(tmp_path / "a.npz", Inner([part]))
    assert not list(tmp_path.iterdir())


class Trap:
    """What a pickle can do."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_nothing_in_a_file_is_executed(tmp_path):
    path = tmp_path / "a.npz"
    for name in ("json", "0"):
        arrays = {"json": np.frombuffer(b'{"Inner": {"value": {"array": "0"}}}', np.uint8), "0": np.zeros(1)}
        np.savez(path, **{**arrays, name: np.array([Trap()])})
        with pytest.raises(RecordError, match="is truncated or foreign"):
            records.load(path, KINDS)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(RecordError, match="is truncated or foreign"):
        records.load(path, KINDS)
    assert not Trap.sprung


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b"{}",
        b'{"a": 1, "b": 2}',
        b'{"array": "1"}',
        b'{"Gaussian": {"mean": 0, "cov": 0}}',  # not among the kinds
        b'{"Inner": {}}',
        b'{"Inner": {"value": 0, "more": 0}}',
        b'{"Inner": [1]}',
        b'{"dict": [[[], 1]]}',
        b"[" * 100_000,
    ],
)
def test_foreign_files_are_one_error(tmp_path, text):
    np.savez(tmp_path / "a.npz", json=np.frombuffer(text, np.uint8))
    with pytest.raises(RecordError, match="is truncated or foreign"):
        records.load(tmp_path / "a.npz", KINDS)


def test_cut_and_damaged_files_are_one_error(tmp_path):
    path = tmp_path / "a.npz"
    records.save(path, Inner(np.arange(50.0)))
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(RecordError):
            records.load(path, KINDS)
    with pytest.raises(FileNotFoundError):
        records.load(tmp_path / "none.npz", KINDS)
    with pytest.raises(RecordError):
        records.load(tmp_path, KINDS)

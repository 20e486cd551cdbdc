"""The benchmarks' frame: turns, medians, table and JSON; and the ``refwfm bench`` command around it."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import command
import pytest

from refwfm.cli import info
from refwfm.validation.bench import import_time, measure, report_page
from refwfm.validation.bench.measure import Row

ROWS = [
    Row("d = 2", 0.002, "POT", 0.005, 2.5, 1e-12, 2e-8),
    Row("d = 16", 1.5, "plain torch", 1.2, 0.8, None, None),
]


class Clock:
    """A clock that only the benchmarked functions move."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def function(self, name, *seconds):
        """Takes these many seconds at its timed (every second) calls, and a hundred at the others."""

        def work():
            count = self.calls.count(name)
            self.calls.append(name)
            self.now += 100.0 if count % 2 == 0 else seconds[count // 2]
            return f"{name}{count}"

        return work


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(measure.time, "perf_counter", clock)
    return clock


def test_sides_take_turns_and_each_timed_call_follows_an_untimed_one(clock):
    measure.compare("c", clock.function("a", 1, 1), clock.function("b", 1, 1), "peer", repeats=2)
    assert clock.calls == ["a", "a", "b", "b", "a", "a", "b", "b"]


def test_times_are_medians_of_the_timed_calls_and_speedup_is_their_ratio(clock):
    ours, peer = clock.function("a", 1, 9, 2), clock.function("b", 5, 5, 800)
    row = measure.compare("c", ours, peer, "POT", repeats=3)
    assert row == Row("c", 2.0, "POT", 5.0, 2.5, None, None)


def test_errors_are_of_the_last_values(clock):
    row = measure.compare(
        *("c", clock.function("a", 1, 1), clock.function("b", 1, 1), "POT"),
        repeats=2,
        error=lambda ours, peer: (ours, peer),
    )
    assert (row.ours_error, row.peer_error) == ("a3", "b3")


def test_json_has_the_name_the_machine_and_a_row_for_each_case():
    found = json.loads(json.dumps(measure.to_json("bures", ROWS)))
    assert set(found) == {"name", "machine", "rows"}
    assert found["name"] == "bures"
    assert {"cpu", "cores", "python", "numpy", "torch"} <= set(found["machine"])
    keys = {"case", "ours_s", "peer", "peer_s", "speedup", "ours_error", "peer_error", "ours_mb", "peer_mb"}
    assert [set(row) for row in found["rows"]] == [keys, keys]
    assert found["rows"][0]["peer_error"] == 2e-8
    assert found["rows"][1]["ours_error"] is None


@pytest.fixture
def stub(monkeypatch):
    """In the place of every benchmark: it remembers the number of repeats."""
    asked = []
    module = SimpleNamespace(rows=lambda repeats: asked.append(repeats) or ROWS)
    monkeypatch.setattr(info, "import_module", lambda name: module)
    return asked


def refwfm(*arguments):
    return command.refwfm("bench", *arguments)


@pytest.mark.parametrize("name", info.BENCHES)
def test_the_command_prints_a_table(stub, name):
    result = refwfm(name, "--repeats", 3)
    assert result.exit_code == 0
    assert stub == [3]
    for words in (f"bench {name}", "2.00 ms", "5.00 ms", "2.50", "1.0e-12", "plain torch", "1.50 s"):
        assert words in result.stdout
    assert "None" not in result.stdout


@pytest.mark.parametrize("name", info.BENCHES)
def test_the_command_prints_json(stub, name):
    result = refwfm(name, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["name"] == name
    assert found["rows"] == measure.to_json(name, ROWS)["rows"]


def test_an_unknown_benchmark_is_one_line():
    result = refwfm("speed")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: unknown benchmark 'speed'; choose one of bures, train-bw")
    assert result.stderr.count("\n") == 1


def test_sizes_are_those_of_training_steps():
    for arguments, words in (
        (("bures", "--sizes", "laptop"), "no sizes"),
        (("train-bw", "--sizes", "x"), "laptop"),
    ):
        result = refwfm(*arguments)
        assert result.exit_code == 2
        assert words in result.stderr


def test_a_backend_is_for_what_runs_on_devices(monkeypatch):
    asked = []
    module = SimpleNamespace(rows=lambda repeats, backend: asked.append((repeats, backend)) or ROWS)
    monkeypatch.setattr(info, "import_module", lambda name: module)
    for name in info.ON_DEVICES:
        assert refwfm(name, "--repeats", 2, "--backend", "strict:device1").exit_code == 0
    assert asked == [(2, "strict:device1")] * len(info.ON_DEVICES)
    result = refwfm("bures", "--backend", "torch:cuda")
    assert result.exit_code == 2
    assert "takes no --backend; sinkhorn, train-bw, train-clouds do" in result.stderr


def test_imports_are_timed_in_processes_of_their_own(monkeypatch):
    asked = []
    monkeypatch.setattr(import_time, "seconds", lambda module: asked.append(module) or float(len(asked)))
    rows = import_time.rows(repeats=2)
    peer = asked[1]
    assert asked == ["refwfm", peer] * 3 + ["refwfm.training.algorithm", peer] * 3
    assert [(row.ours_s, row.peer_s) for row in rows] == [(4.0, 5.0), (10.0, 11.0)]
    monkeypatch.undo()
    assert 0.0 < import_time.seconds("refwfm") < 60.0


@pytest.mark.slow
def test_training_step_is_the_peers():
    pytest.importorskip("torch")
    from refwfm.validation.bench import train_bw

    for row in (*train_bw.rows(repeats=1), *train_bw.laptop_rows(repeats=1)):
        assert row.ours_error < 1e-5  # two steps in float32


@pytest.mark.slow
def test_parts_of_the_step_are_the_peers():
    pytest.importorskip("torch")
    from refwfm.validation.bench import step_parts

    rows = step_parts.rows(repeats=1)
    assert len(rows) == 5
    for row in rows:
        assert row.ours_error < 1e-5


def test_the_report_and_an_empty_page_are_loaded_in_turns(monkeypatch):
    asked = []
    monkeypatch.setattr(report_page.audit, "prepare", lambda backend, dtype, only: [])
    monkeypatch.setattr(report_page.audit, "perform", lambda parts, jobs: None)
    monkeypatch.setattr(report_page, "page", lambda parts, seed: '<section class="panel">')
    monkeypatch.setattr(report_page, "chromium", nullcontext)
    monkeypatch.setattr(
        report_page, "seconds", lambda browser, path: asked.append(path.stem) or float(len(asked))
    )
    (row,) = report_page.rows(repeats=2)
    assert asked == ["report", "empty"] * 3
    assert (row.case, row.ours_s, row.peer_s) == ("load 0.0 MB, 1 panels (limit 2 s)", 4.0, 5.0)


def test_a_chromium_that_is_not_there_is_said(monkeypatch):
    pytest.importorskip("playwright.sync_api")
    monkeypatch.setattr(report_page, "executable", lambda: None)
    with pytest.raises(FileNotFoundError, match="no chromium"), report_page.chromium():
        pass

"""The benchmark's bookkeeping, and the training benchmark's claim that both sides compute the same."""

import json

import pytest
from rich.console import Console

from refwfm.validation import bench


def test_compare_takes_turns_and_reports_both_errors():
    calls = []

    def side(name):
        def run():
            calls.append(name)
            return len(calls)

        return run

    row = bench.compare(
        "case", side("ours"), side("peer"), "other", repeats=3, error=lambda ours, peer: (ours, peer)
    )
    assert calls == 3 * ["ours", "ours", "peer", "peer"]  # one untimed call before each timed one
    assert (row.case, row.peer, row.ours_error, row.peer_error) == ("case", "other", 10, 12)
    assert row.speedup == row.peer_s / row.ours_s
    plain = bench.compare("case", side("ours"), side("peer"), "other", repeats=1)
    assert plain.ours_error is plain.peer_error is None


def test_table_and_json():
    rows = [bench.Row("a case", 0.002, "other", 3.0, 1500.0, 1e-9, None)]
    console = Console(width=120)
    with console.capture() as capture:
        console.print(bench.table("name", rows))
    for text in ("a case", "2.00 ms", "other", "3.00 s", "1500.00", "1.0e-09"):
        assert text in capture.get()
    report = json.loads(json.dumps(bench.to_json("name", rows)))
    assert report["name"] == "name"
    assert {"cpu", "cores", "python", "numpy", "torch"} <= report["machine"].keys()
    assert report["rows"] == [
        {
            "case": "a case",
            "ours_s": 0.002,
            "peer": "other",
            "peer_s": 3.0,
            "speedup": 1500.0,
            "ours_error": 1e-9,
            "peer_error": None,
        }
    ]


@pytest.mark.slow
def test_training_step_is_the_peers():
    pytest.importorskip("torch")
    from refwfm.validation import bench_train_bw

    for row in bench_train_bw.rows(repeats=1):
        assert row.ours_error < 1e-5  # two steps in float32

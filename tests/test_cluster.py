"""Runs and pools on a cluster of Dask: the numbers of one machine, whatever happens to a worker."""

import json
import logging
import os
import platform
import signal
import sys
import time
from importlib import metadata
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from command import assert_error, refwfm, succeed

import refwfm as package
from refwfm.backends import cluster
from refwfm.backends.cluster import CancelledRun, Cluster, ClusterError, connected
from refwfm.clouds import pad
from refwfm.metrics.distances import pairwise_chamfer, pairwise_emd
from refwfm.metrics.neighbours import one_nn_accuracy_emd
from refwfm.paper_figures import experiment
from refwfm.paper_figures.processes import in_processes
from refwfm.transport import _parallel, exact
from refwfm.transport.families import even_family, sq_wow_distance
from refwfm.validation import audit

SMALL = experiment.SCALES["smoke"]._replace(steps=100, width=8, depth=1, size=6, n_steps=3)


@pytest.fixture(scope="module")
def address():
    """HOST:PORT of a cluster of two worker processes of one thread each."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as two:
        yield two.scheduler_address.removeprefix("tcp://")


@pytest.fixture
def workers(address):
    with connected(f"dask://{address}") as found:
        yield found


def numbers(outcomes):
    return [(o.task, o.min_w2_sq, o.bures_part, o.generated.cov.tobytes()) for o in outcomes]


# Runs


def test_a_table_has_the_same_numbers_to_the_last_bit(address, tmp_path):
    command = ("reproduce", "table-2", "--data", "sphere", "--scale", "smoke", "--seeds", 1)
    succeed(*command, "--out", tmp_path / "here", "--jobs", 2)
    said = succeed(*command, "--out", tmp_path / "there", "--executor", f"dask://{address}")
    assert f"2 workers of dask://{address}" in said
    here, there = (
        [
            {name: value for name, value in row.items() if name != "train_s"}
            for row in json.loads((tmp_path / folder / "table-2.json").read_text())["rows"]
        ]
        for folder in ("here", "there")
    )
    assert here == there
    assert len(here) == 3


def test_a_cluster_of_this_machine_is_made_and_ended():
    pytest.importorskip("distributed")
    with connected("dask", jobs=1) as own:
        assert own.workers == 1
        (process,) = own.client.run(os.getpid).values()
        (outcome,) = own.outcomes(abs, [-3])
        assert outcome == 3
        assert process != os.getpid()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("its worker goes on")


def test_what_a_killed_worker_had_is_done_again(workers, tmp_path):
    tasks = experiment.tasks_of({"sphere": SMALL}, methods=("riemannian", "frobenius"))
    began, killed = tmp_path / "began", []

    def told(task):
        with began.open("a") as file:
            file.write(f"{task.method} {task.seed}\n")
        return experiment.run(task)

    def kill_one(outcome):
        if not killed:
            busy = next(worker for worker, keys in workers.client.processing().items() if keys)
            killed.append(workers.client.run(os.getpid, workers=[busy])[busy])
            os.kill(killed[0], signal.SIGKILL)

    folder = tmp_path / "runs"
    outcomes = in_processes(
        told, tasks, cluster=workers, folder=folder, done=kill_one, kinds=experiment.RECORDS
    )
    assert killed
    assert len(began.read_text().splitlines()) > len(tasks)  # the killed worker's run began twice
    assert [outcome.task for outcome in outcomes] == tasks
    assert len(list(folder.glob("*.npz"))) == len(tasks)
    again = in_processes(never, tasks, cluster=workers, folder=folder, resume=True, kinds=experiment.RECORDS)
    assert numbers(again) == numbers(outcomes)
    assert numbers(in_processes(experiment.run, tasks, jobs=2)) == numbers(outcomes)


def never(task):
    raise AssertionError(task)


def test_what_is_given_up_stops_on_its_worker(address, tmp_path):
    beats = tmp_path / "beats"

    def endless(task):
        if task == 0:
            return SimpleNamespace(task=task)
        try:
            while True:
                with beats.open("a") as file:
                    file.write(".")
                time.sleep(0.05)
        except CancelledRun:
            (tmp_path / "cancelled").write_text("yes")
            raise

    def interrupt(outcome):
        while not beats.exists():
            time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), connected(f"dask://{address}") as found:
        in_processes(endless, [0, 1], cluster=found, done=interrupt)
    end = time.monotonic() + 10
    while not (tmp_path / "cancelled").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert (tmp_path / "cancelled").exists()
    size = beats.stat().st_size
    time.sleep(0.3)
    assert beats.stat().st_size == size


def test_a_run_has_one_thread_and_what_it_raises_comes_back(workers):
    def told(task):
        from threadpoolctl import threadpool_info

        if task == 1:
            raise ValueError("task 1 is wrong")
        return {each["num_threads"] for each in threadpool_info()}, joblib.effective_n_jobs(-1), os.getpid()

    ((threads, jobs, process),) = workers.outcomes(told, [0])
    assert threads == {1}
    assert jobs == 1
    assert process != os.getpid()
    with pytest.raises(ValueError, match="task 1 is wrong"):
        list(workers.outcomes(told, [1]))


@pytest.mark.parametrize("backend", ["strict", None])
def test_runs_take_the_backend_of_who_asks(workers, monkeypatch, backend):
    monkeypatch.delenv("REFWFM_BACKEND", raising=False)
    if backend is not None:
        monkeypatch.setenv("REFWFM_BACKEND", backend)
    assert list(workers.outcomes(os.getenv, ["REFWFM_BACKEND"])) == [backend]


def test_a_run_that_ends_every_worker_is_one_line_and_no_wait_for_ever():
    pytest.importorskip("distributed")
    line = r"ended 4 workers .* more memory than a worker has"
    with connected("dask", jobs=1) as own, pytest.raises(ClusterError, match=line):
        list(own.outcomes(os._exit, [9]))


def test_a_cluster_that_ends_is_one_line():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as own,
        connected(f"dask://{own.scheduler_address.removeprefix('tcp://')}") as found,
    ):
        outcomes = found.outcomes(time.sleep, [0.0, 60.0])
        next(outcomes)
        own.close()
        with pytest.raises(ClusterError, match="the cluster lost a run"):
            next(outcomes)


def test_what_dask_logs_stands_not_between_our_lines(address):
    """A client whose scheduler is killed logs a traceback; the line that we say of it is enough."""
    ours = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    before = [each.level for each in ours]
    with connected(f"dask://{address}"):
        assert not any(each.isEnabledFor(logging.ERROR) for each in ours)
    assert [each.level for each in ours] == before


# Pools


def test_plans_and_distances_are_those_of_threads(workers, rng, monkeypatch):
    monkeypatch.setattr(_parallel, "WORTH_A_POOL", 0)
    cost = rng.random((3, 12, 12))
    weights = np.full((3, 12), 1 / 12)
    xs, ys = (pad([rng.standard_normal((n, 2)) for n in sizes]) for sizes in ((5, 7, 6, 9), (4, 8, 5)))

    def values():
        yield exact.assignment(cost)
        yield exact.transport_plan(cost, weights, weights).plan
        yield exact.sq_wasserstein2(xs, xs)
        yield sq_wow_distance(even_family(xs), even_family(xs)).sq_distance
        yield pairwise_emd(xs, squared=True)
        yield pairwise_emd(xs, ys, squared=False)
        yield pairwise_chamfer(xs, ys)
        yield one_nn_accuracy_emd(generated=xs, reference=ys, squared=True, rng=np.random.default_rng(0))

    expected, used, real = list(values()), [], joblib.Parallel.__call__
    monkeypatch.setattr(
        joblib.Parallel,
        "__call__",
        lambda self, tasks: used.append(type(self._backend).__name__) or real(self, tasks),
    )
    with workers.pools():
        for value, wanted in zip(values(), expected, strict=True):
            np.testing.assert_array_equal(value, wanted)
    assert set(used) == {"DaskDistributedBackend"}
    assert len(used) >= len(expected)


def test_formulas_are_audited_there(workers):
    here, there = (audit.prepare("numpy", "float64", ["WFM-10", "WFM-8"]) for _ in range(2))
    audit.perform(here, jobs=1)
    audit.perform(there, cluster=workers)
    assert [part.results.keys() for part in there] == [part.results.keys() for part in here]
    assert audit.count(there) == audit.count(here)
    assert audit.count(there).checks > 0
    assert audit.count(there).failed == 0


# What goes wrong


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS", 0.5)


@pytest.mark.parametrize(
    "command",
    [("reproduce", "table-2", "--scale", "smoke"), ("verify", "--only", "WFM-10")],
    ids=lambda c: c[0],
)
def test_a_scheduler_that_does_not_answer_is_one_line_within_seconds(
    command, impatient, tmp_path, monkeypatch
):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    start = time.monotonic()
    assert_error(refwfm(*command, "--executor", "dask://127.0.0.1:9"), "no scheduler", "tcp://127.0.0.1:9")
    assert time.monotonic() - start < 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("executor", "more", "words"),
    [
        ("das", (), ("unknown executor 'das'", "loky, dask or dask://HOST:PORT")),
        ("dask://", (), ("unknown executor",)),
        ("dask://host", (), ("unknown executor",)),
        ("dask://host:port", (), ("unknown executor",)),
        ("dask://host:1/x", (), ("unknown executor",)),
        ("tcp://host:8786", (), ("unknown executor",)),
        ("dask://host:8786", ("--jobs", 2), ("jobs", "host:8786", "its own number of workers")),
    ],
)
def test_other_names_are_one_line(executor, more, words):
    assert_error(refwfm("reproduce", "table-2", "--scale", "smoke", "--executor", executor, *more), *words)


def test_what_has_no_runs_takes_no_executor(tmp_path):
    asked = ("reproduce", "gwfm-table-5", "--executor", "dask", "--out", tmp_path / "here")
    assert_error(refwfm(*asked), "--executor", "trains nothing")
    assert_error(refwfm("evaluate", "niches", "--executor", "dask"), "--executor: no effect", "Gaussians")


def test_without_dask_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "refwfm\[cluster\]"'), connected("dask"):
        pass


def test_workers_run_what_this_process_runs(address, monkeypatch):
    monkeypatch.setattr(package, "__version__", "9.9")
    with pytest.raises(ClusterError, match=r"worker tcp://.* has refwfm .*, and this process 9\.9"):
        connected(f"dask://{address}").__enter__()


def test_workers_of_another_python_and_without_refwfm_are_one_line():
    pytest.importorskip("distributed")

    def answering(python, ours):
        return SimpleNamespace(
            wait_for_workers=lambda number, timeout: None,
            run=lambda ask, *more, on_error: {"tcp://far:1": ours if more else python},
            ncores=lambda: {"tcp://far:1": 3},
        )

    here = platform.python_version()
    assert cluster._checked(answering(here, package.__version__), "far:1") == 3
    with pytest.raises(ClusterError, match=r"tcp://far:1 has Python 2\.7\.18, and this process 3"):
        cluster._checked(answering("2.7.18", package.__version__), "far:1")
    with pytest.raises(ClusterError, match=r"tcp://far:1 has no refwfm; install refwfm 0"):
        cluster._checked(answering(here, metadata.PackageNotFoundError("refwfm")), "far:1")


def test_a_cluster_without_workers_is_one_line(impatient):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as none:
        address = none.scheduler_address.removeprefix("tcp://")
        with pytest.raises(ClusterError, match="has no worker"):
            connected(f"dask://{address}").__enter__()


def test_the_record_says_who_works(workers):
    assert isinstance(workers, Cluster)
    assert workers.workers == 2

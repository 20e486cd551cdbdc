"""Runs and pools on the workers of a Dask cluster, for programs that own their process: the command line.

What travels is a function by its name and what it is called with: names, numbers and options, not data. A
worker loads families by name itself, from the files that ship or from the folder ``REFWFM_DATA`` of its own.
Runs go as Dask's futures, and not through joblib's backend for Dask: that one waits for ever for a task whose
workers died, and lets what runs go on after Ctrl-C.
"""

import ctypes
import logging
import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import metadata
from multiprocessing import resource_tracker
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import refwfm
from refwfm.backends._memory import keep_freed_memory
from refwfm.transport.programme import POT_ALONE

EXECUTORS = "loky, dask or dask://HOST:PORT"

SECONDS = 5.0
"""Longest wait for a scheduler to answer, and for a cluster to have its first worker."""

WATCHED = 0.5
"""Seconds between two looks at whether a run is still wanted."""

Function = Callable[[Any], Any]


class ClusterError(ConnectionError):
    """A cluster that cannot be reached, does not fit this process, or lost what it was given."""


class CancelledRun(BaseException):
    """Nobody waits for a run any more; it ends where this is raised in it."""


class Cluster(NamedTuple):
    """A connection to a cluster: Dask's client, and how many tasks its workers do at a time."""

    client: Any
    workers: int

    def outcomes(self, function: Function, tasks: list[Any], /) -> Iterator[Any]:
        """Values of a function, as they come. A task whose worker dies is done again on another one."""
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        # Dask searches arguments for values of its own, and would take a record apart: each call has none.
        calls = [self.client.submit(_Call(function, task), pure=False) for task in tasks]
        waiting = as_completed(calls, loop=self.client.loop)
        for call in waiting:
            status = call.status
            if status not in ("finished", "error"):
                raise ClusterError(
                    f"the cluster lost a run ({status}): its scheduler has ended or is out of reach"
                )
            try:
                outcome = call.result()
            except KilledWorker as error:
                raise ClusterError(
                    f"a run ended {error.allowed_failures + 1} workers of the cluster, one after the other, "
                    "as one does that takes more memory than a worker has; their logs say more"
                ) from None
            call.release()  # so that no worker keeps it
            yield outcome

    @contextmanager
    def pools(self) -> Iterator[None]:
        """Joblib's pools of this process on the cluster: exact plans, matrices of distances."""
        import joblib

        self.client.run(_make_ours)
        with joblib.parallel_config(backend="dask", client=self.client):
            yield


@contextmanager
def pools_on(name: str, /) -> Iterator[None]:
    """Joblib's pools within the block on the cluster of a name; threads of this process for ``loky``."""
    with connected(name) as cluster, nullcontext() if cluster is None else cluster.pools():
        yield


class _Call:
    """A task of a worker: one thread, as few libraries as are needed, and none that nobody waits for."""

    def __init__(self, function: Function, task: Any) -> None:
        self.function, self.task = function, task
        self.backend = os.environ.get("REFWFM_BACKEND")  # of the process that asks, as its children have it

    def __call__(self) -> Any:
        import joblib
        from threadpoolctl import threadpool_limits

        _make_ours()
        os.environ.pop("REFWFM_BACKEND", None)
        if self.backend is not None:
            os.environ["REFWFM_BACKEND"] = self.backend
        with (
            threadpool_limits(1),
            joblib.parallel_config(backend="sequential"),
            _ended_when_cancelled(),
        ):
            return self.function(self.task)


def _make_ours() -> None:
    """Have a worker import POT without other libraries, and keep memory: it works for us alone."""
    os.environ.update(POT_ALONE)
    keep_freed_memory()


@contextmanager
def _ended_when_cancelled() -> Iterator[None]:
    """Raise ``CancelledRun`` in this thread of a worker once its task is wanted no more.

    Dask cannot stop a thread, and would let a run of hours go on that was given up: after Ctrl-C, or where
    the process that asked for it has ended.
    """
    from distributed import get_worker

    worker, thread = get_worker(), threading.get_ident()
    key, finished, lock = worker.get_current_task(), threading.Event(), threading.Lock()

    def watch() -> None:
        while not finished.wait(WATCHED):
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                with lock:
                    if not finished.is_set():
                        ctypes.pythonapi.PyThreadState_SetAsyncExc(
                            ctypes.c_ulong(thread), ctypes.py_object(CancelledRun)
                        )
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            finished.set()


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Hold Ctrl-C back: what is started meanwhile never gets it, and this process does afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def connected(name: str, /, *, jobs: int | None = None) -> Iterator[Cluster | None]:
    """Connection to the cluster of a name; None for ``loky``, processes of this machine.

    Parameters
    ----------
    name : str
        ``loky``; ``dask``, for a cluster of this machine that ends with the block; ``dask://HOST:PORT``, for
        the scheduler there.
    jobs : int, optional
        Worker processes of a cluster of this machine; as many as there are cores when left out.

    Raises
    ------
    ValueError
        If the name is unknown, or ``jobs`` is given for a cluster that has its workers.
    ModuleNotFoundError
        Without Dask: says how to install it.
    ClusterError
        If the scheduler does not answer within seconds, has no worker, or one with another version.
    """
    if name == "loky":
        yield None
        return
    kind, _, there = name.partition("://")
    if kind != "dask" or (there and not _is_address(there)) or name == "dask://":
        raise ValueError(f"unknown executor {name!r}; expected {EXECUTORS}")
    if there and jobs is not None:
        raise ValueError(f"jobs: the cluster at {there} has its own number of workers; leave it out")
    try:
        import distributed
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f'executor {name} needs Dask: pip install "refwfm[cluster]"') from None
    cluster = None
    if not there:
        resource_tracker.ensure_running()  # which, when it starts, lets Ctrl-C through again
        with without_ctrl_c():
            cluster = distributed.LocalCluster(
                n_workers=jobs or os.cpu_count() or 1,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,  # they would stand between our lines
            )
    try:
        with _quiet(), _client(cluster.scheduler_address if cluster else f"tcp://{there}") as client:
            yield Cluster(client, _checked(client, there))
    finally:
        if cluster is not None:
            cluster.close()


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        return bool(parts.hostname and parts.port) and parts.netloc == text
    except ValueError:
        return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's client from printing tracebacks of its own where a scheduler ends: we say so in a line."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """Connect; at the end of the block all that the cluster does for this process is given up."""
    from distributed import Client

    try:
        client = Client(address, timeout=SECONDS, set_as_default=False)
    except OSError as error:
        reason = "" if "Timed out" in str(error) else f" ({error})"
        raise ClusterError(
            f"no scheduler of Dask answers at {address} within {SECONDS:g} s{reason}"
        ) from None
    try:
        yield client
    finally:
        client.close()


def _checked(client: Any, there: str) -> int:
    """Number of tasks that the workers do at once; raise unless they run what this process runs."""
    from distributed import TimeoutError as Late

    try:
        client.wait_for_workers(1, timeout=SECONDS)
    except Late:
        raise ClusterError(f"the cluster at {there} has no worker (dask worker {there} starts one)") from None
    for what, ours, ask in (
        ("Python", platform.python_version(), (platform.python_version,)),
        ("refwfm", refwfm.__version__, (metadata.version, "refwfm")),
    ):
        # Functions of Python itself, by name: they can be called where refwfm is missing.
        for worker, theirs in client.run(*ask, on_error="return").items():
            if isinstance(theirs, metadata.PackageNotFoundError):
                raise ClusterError(f"the worker {worker} has no {what}; install {what} {ours} there")
            if isinstance(theirs, Exception):
                raise ClusterError(f"the worker {worker} does not say its {what}: {theirs}")
            if _told_apart(what, theirs) != _told_apart(what, ours):
                raise ClusterError(
                    f"the worker {worker} has {what} {theirs}, and this process {ours}; use one"
                )
    return int(sum(client.ncores().values()))


def _told_apart(what: str, version: str) -> str:
    """The part of a version that must agree: of Python the first two numbers."""
    return version.rpartition(".")[0] if what == "Python" else version

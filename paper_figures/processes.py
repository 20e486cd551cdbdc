"""The runs of an experiment: on all cores, and kept in files as they finish."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from refwfm import backends
from refwfm.backends._memory import keep_freed_memory
from refwfm.backends.cluster import Cluster, ClusterError, without_ctrl_c
from refwfm.storage import atomic, records
from refwfm.storage.records import RecordError
from refwfm.transport.programme import POT_ALONE


def in_processes(
    function: Callable[[Any], Any],
    tasks: list[Any],
    /,
    *,
    backend: str | None = None,
    jobs: int | None = None,
    cluster: Cluster | None = None,
    done: Callable[[Any], None] = lambda outcome: None,
    folder: Path | None = None,
    resume: bool = False,
    kinds: tuple[type, ...] = (),
    unreadable: Callable[[str], None] = lambda reason: None,
) -> list[Any]:
    """Outcomes of tasks, in their order: one process and one thread per core, or one process on a GPU.

    Parameters
    ----------
    function : callable
        ``task -> outcome``, which has the ``task``.
    jobs : int, optional
        Processes; as many as there are cores when left out, one on a GPU.
    cluster : Cluster, optional
        Whose workers do them instead, as many at a time as they are. Files are written here all the same.
    done : callable, optional
        Called with each outcome as it comes.
    folder : path, optional
        Where outcomes are kept as they come, a file each.
    resume : bool
        Take outcomes of the very same tasks from there, as far as there are.
    kinds : tuple of named tuple types
        What an outcome is made of; needed to read it from its file.
    unreadable : callable, optional
        Called with the reason for each file that cannot be read; its task runs again.
    """
    outcomes = []
    if folder is not None:
        atomic.sweep(folder)
    for task in tasks if folder is not None and resume else ():
        outcome = _kept(_file_of(folder, task), task, kinds, unreadable)
        if outcome is not None:
            outcomes.append(outcome)
            done(outcome)
    finished = [outcome.task for outcome in outcomes]
    left = [task for task in tasks if task not in finished]
    running, end = (
        _started(function, left, backend, jobs)
        if cluster is None
        else (cluster.outcomes(function, left), lambda: None)
    )
    try:
        for outcome in running:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                records.save(_file_of(folder, outcome.task), outcome)
            outcomes.append(outcome)
            done(outcome)
    except TerminatedWorkerError:
        end()
        raise MemoryError(
            "the system ended a process, as it does with one that takes more memory than there is; finished "
            "runs are kept, and --resume goes on after them"
        ) from None
    except ClusterError as error:
        kept = "; finished runs are kept, and --resume goes on after them" if folder and outcomes else ""
        raise ClusterError(f"{error}{kept}") from None
    except BaseException:
        end()
        raise
    return sorted(outcomes, key=lambda outcome: tasks.index(outcome.task))


def _started(
    function: Callable[[Any], Any], tasks: list[Any], backend: str | None, jobs: int | None
) -> tuple[Iterator[Any], Callable[[], None]]:
    """Outcomes as they come from processes of this machine, and what ends these before they are done."""
    if jobs is None:
        on_gpu = backends.load(backend).device.startswith("cuda")
        jobs = 1 if on_gpu else max(1, min(len(tasks), os.cpu_count() or 1))
    workers = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", **_one_thread_each(jobs))
    parent, busy = os.getpid(), jobs >= (os.cpu_count() or 1)
    with without_ctrl_c():  # the processes that start here are ended by this one
        running = workers(joblib.delayed(_in_worker)(function, task, parent, busy) for task in tasks)
    return running, _end_workers if jobs > 1 else lambda: None


def _in_worker(function: Callable[[Any], Any], task: Any, parent: int, busy: bool) -> Any:
    if os.getpid() == parent:
        return function(task)
    _end_with(parent)
    keep_freed_memory()
    os.environ.update(POT_ALONE)
    with joblib.parallel_config(backend="sequential") if busy else nullcontext():
        return function(task)  # without threads where the other cores have runs of their own


@cache
def _end_with(parent: int) -> None:
    """End this process soon after its parent, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _end_workers() -> None:
    """Kill the processes of runs that nobody waits for any more."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=False, kill_workers=True)


def _file_of(folder: Path, task: Any) -> Path:
    return folder / f"{records.digest(task)}.npz"


def _kept(file: Path, task: Any, kinds: tuple[type, ...], unreadable: Callable[[str], None]) -> Any:
    """Outcome of a task from its file; None if there is none, or one that cannot be read."""
    try:
        outcome = records.load(file, kinds)
        if getattr(outcome, "task", None) != task:
            raise RecordError(f"{file} holds another run")
    except FileNotFoundError:
        return None
    except RecordError as error:
        unreadable(str(error))
        return None
    return outcome


def _one_thread_each(jobs: int) -> dict[str, object]:
    return {"backend": "loky", "inner_max_num_threads": 1} if jobs > 1 else {}

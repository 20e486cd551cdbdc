"""Several processes on torch.distributed: a ``training.team.Team``, as torchrun starts them.

torchrun tells each process its rank by variables of the environment. Numbers on a GPU go through NCCL, those
on the host, NumPy's included, through Gloo, which shares NumPy's memory. All arrays of a gradient travel as
one vector.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from itertools import accumulate, pairwise
from math import prod
from threading import Thread
from typing import Any

import numpy as np
import torch
from torch import distributed

from refwfm.backends import Backend, BackendError
from refwfm.backends._numpy_sinkhorn import SMALL
from refwfm.training.ops import SinkhornSolver
from refwfm.training.optim import Tree, flatten, unflatten
from refwfm.training.team import Share, Team, TeamError
from refwfm.transport import sinkhorn as reference
from refwfm.transport.sinkhorn import TOLERANCE, Sinkhorn, certified

PATIENCE = timedelta(hours=1)
"""How long a process waits for the others. One that has ended is noticed at once; others may fit for long."""

FAILED = "refwfm/failed"
"""Where a process leaves word of what it failed of."""


def device_of_rank(name: str, /) -> str:
    """Backend for this process: on CUDA, the card of its number on its machine.

    Raises
    ------
    BackendError
        If the arrays are of another library, a card is named, or there are fewer cards than processes.
    """
    library, _, device = name.partition(":")
    if library not in ("numpy", "torch"):
        raise BackendError(f"several processes train on numpy, torch:cpu or torch:cuda; got {name}")
    if library == "numpy" or device.startswith("cpu") or not torch.cuda.is_available():
        return name
    local, cards = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if ":" in device:
        raise BackendError(f"each process takes a card of its own: use torch:cuda; got {name}")
    if local >= cards:
        raise BackendError(f"process {local} of this machine has no card of its own: there are {cards}")
    torch.cuda.set_device(local)
    return f"torch:cuda:{local}"


@contextmanager
def joined() -> Iterator[tuple[Team, Callable[[str], bool]]]:
    """The team of this process, and ``tell(words)``, with which it leaves word of what it has failed of.

    It says whether it is the first to do so.

    Raises
    ------
    TeamError
        If the others cannot be reached; the team's functions raise it, too, when one has ended.
    """
    with _reached("the processes of this run do not find each other"):
        store, rank, size = _interruptible(_meet)

    def heard() -> str:
        try:
            return store.get(FAILED).decode() if store.check([FAILED]) else ""
        except RuntimeError:  # who keeps the words has ended, too
            return ""

    def tell(words: str) -> bool:
        words = f"process {rank}: {words}"
        try:
            return bool(store.compare_set(FAILED, "", words).decode() == words)
        except RuntimeError:
            return True

    team = Team(Share(rank, size), _mean, _largest, _first, heard)
    yield team, tell
    # Only after a run that went well: of a process that has failed, none waits for the others.
    with _reached():
        distributed.barrier()
        distributed.destroy_process_group()


@contextmanager
def _reached(words: str = "another process of this run has ended, or cannot be reached") -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise TeamError(words) from error


def _meet() -> tuple[Any, int, int]:
    """Connect the processes: a store of words that all can read, the rank of this one, how many there are."""
    store, rank, size = next(iter(distributed.rendezvous("env://", timeout=PATIENCE)))
    kind = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(kind, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    return store, rank, size


def _interruptible(call: Callable[[], Any], /) -> Any:
    """What a call gives that waits for other processes: in a thread, as it would see no signal."""
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    return done.result()


def _mean(tree: Tree, count: int, /) -> Tree:
    """Mean of trees over all processes, each weighted by its count, which travels behind their numbers."""
    flat = flatten(tree)
    leaves = [leaf if isinstance(leaf, torch.Tensor) else np.asarray(leaf) for leaf in flat.values()]
    if isinstance(leaves[0], torch.Tensor):
        one = torch.ones_like(leaves[0].reshape(-1)[:1])
        vector = torch.cat([*(leaf.reshape(-1) for leaf in leaves), one])
        shared = vector
    else:
        vector = np.concatenate([*(leaf.reshape(-1) for leaf in leaves), np.ones(1, leaves[0].dtype)])
        shared = torch.from_numpy(vector)
    shared.mul_(count)
    with _reached():
        distributed.all_reduce(shared)
    shared.div_(shared[-1].clone())
    ends = [0, *accumulate(prod(leaf.shape) for leaf in leaves)]
    parts = (
        vector[i:j].reshape(tuple(leaf.shape)) for leaf, (i, j) in zip(leaves, pairwise(ends), strict=True)
    )
    return unflatten(dict(zip(flat, parts, strict=True)))


def _largest(values: np.ndarray, /) -> np.ndarray:
    """Largest value of all processes; NaN, of which no maximum is defined, counts as infinity."""
    shared = torch.from_numpy(np.where(np.isnan(values), np.inf, np.asarray(values, np.float64)))
    with _reached():
        distributed.all_reduce(shared, op=distributed.ReduceOp.MAX)
    return shared.numpy()


def _first(content: bytes, /) -> bytes:
    """The bytes that the process of rank 0 has."""
    size = torch.tensor([len(content)])
    with _reached():
        distributed.broadcast(size, 0)
    shared = torch.zeros(int(size), dtype=torch.uint8)
    if distributed.get_rank() == 0:
        shared.numpy()[:] = np.frombuffer(content, np.uint8)
    with _reached():
        distributed.broadcast(shared, 0)
    return shared.numpy().tobytes()


def together(backend: Backend, team: Team, /) -> Backend:
    """A backend whose inner plans do not depend on how many processes share a batch.

    Where Sinkhorn's iteration goes on until the slowest of a batch is done, it does so for the slowest of all
    shares.
    """
    return backend._replace(
        ops=backend.ops._replace(sinkhorn=_to_the_slowest(backend.ops.sinkhorn, team.largest))
    )


def _to_the_slowest(
    solve: SinkhornSolver, largest: Callable[[np.ndarray], np.ndarray]
) -> Callable[..., Sinkhorn]:
    def sinkhorn(
        cost: Any,
        a: Any,
        b: Any,
        /,
        *,
        tol: float | None = TOLERANCE,
        max_iter: int = 10_000,
        require: bool = True,
        f_init: Any = None,
        **options: Any,
    ) -> Sinkhorn:
        found = solve(cost, a, b, tol=tol, max_iter=max_iter, require=False, f_init=f_init, **options)
        if tol is not None and not _each_alone(solve, cost):
            slowest = int(largest(np.asarray([found.n_iter]))[0])
            if slowest > found.n_iter:  # the iteration's state is f: it goes on as if it had not stopped
                left = slowest - found.n_iter
                found = reference.sinkhorn(
                    cost, a, b, tol=None, max_iter=left, require=False, f_init=found.f, **options
                )._replace(n_iter=slowest)
        return certified(found, tol=tol, require=require)

    return sinkhorn


def _each_alone(solve: SinkhornSolver, cost: Any) -> bool:
    """Whether each problem of a batch is solved until it is done, as the twin on the host does."""
    on_host = isinstance(cost, np.ndarray) or cost.device.type == "cpu"
    return solve is not reference.sinkhorn and on_host and cost.shape[-2] * cost.shape[-1] >= SMALL

"""Many calls of one function at once, by joblib: in threads, or as ``joblib.parallel_config`` says."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

Arguments = Iterable[tuple[Any, ...]]


def in_parallel(function: Callable[..., Any], arguments: Arguments, /, *, n_jobs: int) -> list[Any]:
    """Values of a function, in order, when all of them are there.

    Examples
    --------
    >>> in_parallel(pow, [(2, 3), (3, 2)], n_jobs=1)
    [8, 9]
    """
    return list(_values(function, arguments, n_jobs=n_jobs))


def as_they_come(function: Callable[..., Any], arguments: Arguments, /, *, n_jobs: int) -> Iterator[Any]:
    """Values of a function, in order, each as soon as it and those before it are there.

    Where joblib's backend gives only all of them at once, as Ray's, they come then.

    Examples
    --------
    >>> list(as_they_come(pow, [(2, 3), (3, 2)], n_jobs=1))
    [8, 9]
    """
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend(prefer="threads")
    if not backend.supports_return_generator:
        return iter(in_parallel(function, arguments, n_jobs=n_jobs))
    return iter(_values(function, arguments, n_jobs=n_jobs, return_as="generator"))


def _values(
    function: Callable[..., Any], arguments: Arguments, *, n_jobs: int, **options: Any
) -> Iterable[Any]:
    from joblib import Parallel, delayed

    values: Iterable[Any] = Parallel(n_jobs=n_jobs, prefer="threads", **options)(
        delayed(function)(*each) for each in arguments
    )
    return values


# Batches of problems on the host

WORTH_A_POOL = 2**20
"""Entries of all cost matrices together; below, one thread is done before a pool has started."""


def members(array: np.ndarray, core: int) -> np.ndarray:
    """One leading axis instead of all but the last ``core`` ones.

    Examples
    --------
    >>> members(np.zeros((2, 3, 4)), 1).shape
    (6, 4)
    """
    shape = array.shape[array.ndim - core :]
    return array.reshape(math.prod(array.shape[: array.ndim - core]), *shape)


def each(function: Callable[..., Any], size: int, n_jobs: int, *stacks: np.ndarray) -> list[Any]:
    """Values of a function of the members of the stacks, in parallel where it pays.

    Examples
    --------
    >>> [float(total) for total in each(np.sum, 1, 2, np.asarray([[2.0, 3.0], [5.0, 4.0]]))]
    [5.0, 9.0]
    """
    count = len(stacks[0])
    if count < 2 or size < WORTH_A_POOL or n_jobs == 1:
        return [function(*one) for one in zip(*stacks, strict=True)]
    return in_parallel(function, zip(*stacks, strict=True), n_jobs=n_jobs)

"""Many calls of one function at once, by joblib: in threads, or as ``joblib.parallel_config`` says."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

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

    Examples
    --------
    >>> list(as_they_come(pow, [(2, 3), (3, 2)], n_jobs=1))
    [8, 9]
    """
    return iter(_values(function, arguments, n_jobs=n_jobs, return_as="generator"))


def _values(
    function: Callable[..., Any], arguments: Arguments, *, n_jobs: int, **options: Any
) -> Iterable[Any]:
    from joblib import Parallel, delayed

    values: Iterable[Any] = Parallel(n_jobs=n_jobs, prefer="threads", **options)(
        delayed(function)(*each) for each in arguments
    )
    return values

"""How the network of a run is computed: in reduced precision, or compiled. Nothing else changes with it.

Reduced precision is for the layers of the network, where nearly all operations of a training step are, and
where rounding is one more noise beside that of the batch. Transport, losses, the optimiser and the running
mean stay in the dtype of the run: their differences and exponents have no digits to spare.
"""

from refwfm.backends import Backend, BackendError

PRECISIONS = ("float32", "tf32", "bf16")


def with_arithmetic(backend: Backend, /, *, precision: str | None = None, compiled: bool = False) -> Backend:
    """The backend, with its networks computed as asked for.

    Parameters
    ----------
    precision : "float32", "tf32" or "bf16", optional
        Of the products in the network's layers, forward and backward; that of the run when left out. bf16
        has 8 bits for the mantissa, tf32 11 (products only, of float32 numbers, on GPUs).
    compiled : bool
        Whether torch compiles the layers and their pullback.

    Raises
    ------
    BackendError
        If this backend cannot compute so.
    """
    if precision is not None and precision not in PRECISIONS:
        raise BackendError(f"unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}")
    reduced = precision in ("tf32", "bf16")
    if precision is not None and backend.dtype != "float32":
        raise BackendError(f"precision {precision} is for dtype float32; got {backend.dtype}")
    if not reduced and not compiled:
        return backend
    asked = f"precision {precision}" if reduced else "compile"
    library = backend.name.partition(":")[0]
    if library == "jax" and not reduced:
        raise BackendError("jax compiles the network of every run by itself; leave compile out")
    if library != "torch":
        raise BackendError(f"{asked} needs torch (--backend torch); {library} has nothing of the kind")
    from refwfm.backends import _torch_arithmetic
    from refwfm.training.ops import REFERENCE

    if backend.ops is REFERENCE:
        raise BackendError(f"{asked} is for the faster twins of the networks; leave reference out")
    return _torch_arithmetic.with_arithmetic(backend, precision if reduced else None, compiled)

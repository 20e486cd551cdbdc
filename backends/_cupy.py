"""CuPy on a CUDA GPU."""

import cupy

from refwfm._array import to_host
from refwfm.backends import Backend, BackendError, check_device, host_array
from refwfm.training.ops import REFERENCE


def load(device: str, dtype: str, /) -> Backend:
    """Backend record; the only device is "cuda", the current one."""
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError(f"cupy sees no CUDA device ({error}); use numpy, torch:cpu or jax") from None
    if count == 0:
        raise BackendError("cupy sees no CUDA device; use numpy, torch:cpu or jax")

    def asarray(values: object) -> object:
        return cupy.asarray(host_array(values, dtype))

    return Backend(
        name="cupy",
        device=check_device("cupy", device, ("cuda",)),
        dtype=dtype,
        asarray=asarray,
        to_numpy=to_host,
        synchronize=cupy.cuda.get_current_stream().synchronize,
        ops=REFERENCE,
        version=cupy.__version__,
    )

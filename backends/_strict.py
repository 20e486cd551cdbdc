"""array-api-strict: nothing but the standard, slowly. For tests and audits, not for runs of any size."""

import array_api_strict as xp

from refwfm._array import to_host
from refwfm.backends import Backend, BackendError, check_device, host_array
from refwfm.training.ops import REFERENCE


def load(device: str, dtype: str, /) -> Backend:
    """Backend record for "cpu", for "device1", whose arrays NumPy cannot read, or for "no_float64"."""
    device = check_device("strict", device, ("cpu", "device1", "no_float64"))
    if (device, dtype) == ("no_float64", "float64"):
        raise BackendError("strict:no_float64 has no float64; use float32")
    place = xp.Device("CPU_DEVICE" if device == "cpu" else device)

    def asarray(values: object) -> object:
        return xp.asarray(host_array(values, dtype), device=place, copy=True)

    return Backend(
        name="strict" if device == "cpu" else f"strict:{device}",
        device=device,
        dtype=dtype,
        asarray=asarray,
        to_numpy=to_host,
        synchronize=lambda: None,
        ops=REFERENCE,
        version=xp.__version__,
    )

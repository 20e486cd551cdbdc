"""array-api-strict: nothing but the standard, slowly. For tests and audits, not for runs of any size."""

import array_api_strict as xp
import numpy as np

from refwfm._array import to_host
from refwfm.backends import Backend, check_device
from refwfm.training.ops import REFERENCE


def load(device: str, dtype: str, /) -> Backend:
    """Backend record; the only device is "cpu"."""
    kind = getattr(xp, dtype)

    def asarray(values: object) -> object:
        array = xp.asarray(np.asarray(values))
        return xp.astype(array, kind) if xp.isdtype(array.dtype, "real floating") else array

    return Backend(
        name="strict",
        device=check_device("strict", device, ("cpu",)),
        dtype=dtype,
        asarray=asarray,
        to_numpy=to_host,
        synchronize=lambda: None,
        ops=REFERENCE,
        version=xp.__version__,
    )

"""NumPy on the CPU: the default."""

from functools import partial

import numpy as np

from refwfm.backends import Backend, check_device
from refwfm.backends._numpy_bures import pairwise_sq_distance
from refwfm.backends._numpy_ops import adam, clip_by_global_norm, ema
from refwfm.backends._numpy_transformer import transformer
from refwfm.ops import REFERENCE
from refwfm.regression import cloud_loss_and_grad


def load(device: str, dtype: str, /) -> Backend:
    """Backend record; the only device is "cpu"."""
    kind = np.dtype(dtype)

    def asarray(values: object) -> np.ndarray:
        array = np.asarray(values)
        return array.astype(kind) if array.dtype.kind == "f" else array

    return Backend(
        name="numpy",
        device=check_device("numpy", device, ("cpu",)),
        dtype=dtype,
        asarray=asarray,
        to_numpy=np.asarray,
        synchronize=lambda: None,
        ops=REFERENCE._replace(
            pairwise_sq_distance=pairwise_sq_distance,
            cloud_loss_and_grad=partial(cloud_loss_and_grad, network=transformer),
            clip_by_global_norm=clip_by_global_norm,
            adam=adam,
            ema=ema,
        ),
        version=np.__version__,
    )

"""JAX: eager calls of the same functions, with the step's loss and update compiled."""

import jax
import jax.numpy as jnp

from refwfm._array import to_host
from refwfm.backends import Backend, BackendError, check_device, host_array
from refwfm.training.ops import REFERENCE
from refwfm.training.optim import Tree
from refwfm.training.regression import CloudBatch, cloud_loss_and_grad, gaussian_loss_and_grad

_compiled = jax.jit(cloud_loss_and_grad, static_argnames="heads")


def load(device: str, dtype: str, /) -> Backend:
    """Backend record for "cpu" or "cuda"; float64 needs JAX's 64-bit mode, which this turns on."""
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    name = check_device("jax", device, ("cpu", "cuda"))
    try:
        place = jax.devices("gpu" if name == "cuda" else "cpu")[0]
    except RuntimeError:
        raise BackendError("jax sees no CUDA device; use jax:cpu, or install a CUDA build of jax") from None

    if name == "cuda":  # a GPU would take ten bits of a factor (TF32) in every product of float32
        jax.config.update("jax_default_matmul_precision", "highest")

    def asarray(values: object) -> jax.Array:
        return jax.device_put(host_array(values, dtype), place)

    return Backend(
        name=f"jax:{name}",
        device=name,
        dtype=dtype,
        asarray=asarray,
        to_numpy=to_host,
        synchronize=jax.effects_barrier,
        ops=REFERENCE._replace(
            gaussian_loss_and_grad=jax.jit(gaussian_loss_and_grad, static_argnames="method"),
            cloud_loss_and_grad=padded_loss_and_grad,
        ),
        version=jax.__version__,
    )


def padded_loss_and_grad(params: Tree, batch: CloudBatch, /, *, heads: int) -> tuple[jax.Array, Tree]:
    """Twin of ``regression.cloud_loss_and_grad``, compiled only for the few sizes that are powers of two.

    Padding has no influence on loss and gradient.
    """
    n = batch.points.shape[1]
    more = 2 ** (n - 1).bit_length() - n
    points, weights, target = (
        jnp.pad(part, [(0, 0), (0, more)] + [(0, 0)] * (part.ndim - 2))
        for part in (batch.points, batch.weights, batch.target)
    )
    return _compiled(params, batch._replace(points=points, weights=weights, target=target), heads=heads)

"""The three methods of Table 2: each a choice of velocity, loss and generation step."""

from collections.abc import Callable
from typing import Any, NamedTuple

from refwfm.bures import EuclideanTangent, Tangent, euclidean_path, path
from refwfm.generation import exponential_step, projected_euler_step
from refwfm.objectives import euclidean_loss, frobenius_loss, riemannian_loss


class Method(NamedTuple):
    """How one method trains and generates.

    Attributes
    ----------
    title : str
    path : callable
        ``path(mu, nu, t, validate=)``: the point mu_t and the velocity to regress onto.
    velocity : type
        What (mean, matrix) of the network stand for: ``Tangent`` or ``EuclideanTangent``.
    loss : callable
        ``loss(pred, target, mu_t)``: value and derivative.
    step : callable
        ``step(mu, velocity, h)``: one step of generation.
    """

    title: str
    path: Callable[..., Any]
    velocity: type[Tangent] | type[EuclideanTangent]
    loss: Callable[..., Any]
    step: Callable[..., Any]


METHODS = {
    "riemannian": Method("BW-FM (Riemannian)", path, Tangent, riemannian_loss, exponential_step),
    "euclidean": Method(
        "BW-FM (Euclidean)", euclidean_path, EuclideanTangent, euclidean_loss, projected_euler_step
    ),
    "frobenius": Method(
        "Frobenius FM", euclidean_path, EuclideanTangent, frobenius_loss, projected_euler_step
    ),
}

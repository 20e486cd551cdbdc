"""The three methods of Table 2: each a choice of velocity, loss and generation step."""

from typing import Any, NamedTuple, Protocol

from refwfm._array import Array
from refwfm.bures import EuclideanTangent, Tangent, euclidean_path, path
from refwfm.generation import exponential_step, projected_euler_step
from refwfm.measures import Gaussian
from refwfm.objectives import euclidean_loss, frobenius_loss, riemannian_loss


class Path(Protocol):
    """Point mu_t of the geodesic from mu to nu, and the velocity to regress onto."""

    def __call__(  # noqa: D102
        self, mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True
    ) -> tuple[Gaussian, Any]: ...


class Loss(Protocol):
    """Mean squared error of a predicted velocity at mu_t, and its derivative in the prediction."""

    def __call__(self, pred: Any, target: Any, mu_t: Gaussian, /) -> tuple[Array, Any]: ...  # noqa: D102


class Step(Protocol):
    """One step of generation of length h, and how far it was from needing a repair."""

    def __call__(self, mu: Gaussian, v: Any, h: float, /) -> tuple[Gaussian, Array]: ...  # noqa: D102


class Method(NamedTuple):
    """How one method trains and generates.

    Attributes
    ----------
    title : str
    path : Path
    velocity : type
        Type of the velocities of ``path``, ``loss`` and ``step``, and of the network's (mean, matrix).
    loss : Loss
    step : Step
    """

    title: str
    path: Path
    velocity: type[Tangent] | type[EuclideanTangent]
    loss: Loss
    step: Step


METHODS = {
    "riemannian": Method("BW-FM (Riemannian)", path, Tangent, riemannian_loss, exponential_step),
    "euclidean": Method(
        "BW-FM (Euclidean)", euclidean_path, EuclideanTangent, euclidean_loss, projected_euler_step
    ),
    "frobenius": Method(
        "Frobenius FM", euclidean_path, EuclideanTangent, frobenius_loss, projected_euler_step
    ),
}

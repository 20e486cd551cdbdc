"""How the network of a run is computed: ``--precision`` and ``--compile``."""

from typing import Any

from refwfm.backends import Backend
from refwfm.backends.arithmetic import with_arithmetic
from refwfm.cli._common import say
from refwfm.training.base_config import TrainingConfig
from refwfm.training.config import CloudConfig, GaussianConfig


def arithmetic_of(place: Backend, run: dict[str, Any], config: TrainingConfig, /) -> Backend:
    """The backend that trains, as the table [run] asks for.

    Raises
    ------
    ValueError
        If the network of this run is not one of those that are computed so.
    BackendError
        If the backend cannot compute so.
    """
    precision, compiled = run.get("precision"), bool(run.get("compile", False))
    if precision in (None, "float32") and not compiled:
        return with_arithmetic(place, precision=precision)
    option = "--compile" if precision in (None, "float32") else f"--precision {precision}"
    if not isinstance(config, GaussianConfig | CloudConfig):
        raise ValueError(f"{option} is for flows of Gaussians and of clouds (--kind flow); got {run['kind']}")
    _check_network(config, option)
    found = with_arithmetic(place, precision=precision, compiled=compiled)
    how = ([precision] if precision in ("tf32", "bf16") else []) + (["compiled"] if compiled else [])
    wait = ": the first step waits for the compiler" if compiled else ""
    say(f"layers of the network: {', '.join(how)}{wait}")
    return found


def generating(place: Backend, precision: str | None, config: TrainingConfig, /) -> Backend:
    """The backend that generates; errors as for ``arithmetic_of``."""
    if precision in ("tf32", "bf16"):
        if not isinstance(config, CloudConfig):
            raise ValueError(f"--precision {precision} is for models of clouds: others are generated quickly")
        _check_network(config, f"--precision {precision}")
    return with_arithmetic(place, precision=precision)


def _check_network(config: TrainingConfig, option: str) -> None:
    network = getattr(config, "network", "transformer")
    if network != "transformer":
        raise ValueError(f"{option} is for the transformer; got --network {network}")

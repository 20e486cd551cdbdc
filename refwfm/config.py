"""What a run is asked for."""

import math
from dataclasses import dataclass, fields
from typing import Any

from refwfm.methods import METHODS


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a run was asked for; the defaults are the paper's settings (WFM App. E.1) where it states them.

    Attributes
    ----------
    method : str
        A key of ``methods.METHODS``.
    steps, batch : int
    width, depth, n_frequencies, label_dim : int
        Of the two networks: hidden layers ``depth`` x ``width``, Fourier features of time, label embedding.
    learning_rate, decay, decay_every : float, float, int
        The rate is multiplied by ``decay`` every ``decay_every`` steps. (The base rate is not stated.)
    df : int, optional
        Degrees of freedom of the source's Wishart law; 2 d when left out. (Not stated.)
    matching : bool
        Optimal pairing of source and target within each batch (App. C).
    conditional : bool
        Condition on the labels of the family where it has them.
    clip_norm : float
        Bound on the gradient's global norm; 0 turns clipping off.
    ema : float
        Decay of the running mean of the parameters, which generation uses; 0 turns it off.
    seed : int
    """

    method: str = "riemannian"
    steps: int = 100_000
    batch: int = 128
    width: int = 1024
    depth: int = 6
    n_frequencies: int = 16
    label_dim: int = 32
    learning_rate: float = 1e-3
    decay: float = 0.97
    decay_every: int = 1000
    df: int | None = None
    matching: bool = False
    conditional: bool = True
    clip_norm: float = 1.0
    ema: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), field.type
            allowed: Any = int | float if kind is float else kind
            if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
                name = getattr(kind, "__name__", kind)
                raise ValueError(f"{field.name} must be of type {name}; got {value!r}")
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {self.method!r}")
        for name in ("steps", "batch", "width", "depth", "n_frequencies", "label_dim", "decay_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf or not 0 < self.decay <= 1:
            raise ValueError(
                "learning_rate must be positive and decay in (0, 1]; "
                f"got {self.learning_rate} and {self.decay}"
            )
        if not self.clip_norm >= 0 or not 0 <= self.ema < 1 or self.seed < 0:
            raise ValueError(
                "clip_norm and seed must not be negative and ema must lie in [0, 1); "
                f"got {self.clip_norm}, {self.seed} and {self.ema}"
            )

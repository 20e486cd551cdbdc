"""What every run is asked for, whatever kind of measure its model is over."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from refwfm.training.muon import OPTIMIZERS
from refwfm.training.options import check_options, option
from refwfm.training.times import LAWS, sample_times

if TYPE_CHECKING:
    from numpy.random import Generator


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What every run is asked for; the papers do not state the initial learning rate."""

    PANEL: ClassVar[str] = ""

    steps: int = option(100_000, "Steps of training.", low=1)
    batch: int = option(help="Pairs of source and target in a step.", low=1)
    width: int = option(help="Width of the network's hidden layers.", low=1)
    depth: int = option(6, "Number of hidden layers, or of the transformer's blocks.", low=1)
    learning_rate: float = option(help="Learning rate of the first step.", above=0)
    schedule: str = option(
        "exponential",
        "How the learning rate falls: by decay, or along a cosine to 0 after the last of the steps.",
        choices=("exponential", "cosine"),
    )
    warmup: int = option(0, "Steps in which the learning rate first rises, linearly.", low=0)
    decay: float = option(0.97, "Factor on the learning rate every decay_every steps.", above=0, high=1)
    decay_every: int = option(1000, "Steps between two decays of the learning rate.", low=1)
    clip_norm: float = option(1.0, "Bound on the norm of the gradient; 0 turns clipping off.", low=0)
    ema: float = option(
        0.999, "Decay of the running mean of the parameters, which generates; 0 turns it off.", low=0, below=1
    )
    seed: int = option(0, "Seed of everything that is random in a run.", low=0)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class FlowOptions(TrainingConfig):
    """What a run that learns a flow is asked for besides."""

    n_frequencies: int = option(16, "Number of Fourier features of time.", low=1)
    optimizer: str = option(
        "adam",
        "How parameters move: all by Adam, the papers'; or matrices between layers by Muon (ours).",
        choices=OPTIMIZERS,
    )
    time_law: str = option(
        "uniform", "Law of the times that are drawn; the papers' is uniform.", choices=LAWS
    )
    time_mean: float = option(0.0, "Mean of log(t / (1 - t)) for logit-normal times.")
    time_deviation: float = option(1.0, "Its standard deviation.", above=0)
    conditional: bool = option(
        True, "Condition the model on the family's labels and conditions, where it has any."
    )

    def times(self, rng: "Generator", /) -> np.ndarray:
        """Draw the times of a step, shape (batch,)."""
        return sample_times(
            rng, self.batch, law=self.time_law, mean=self.time_mean, deviation=self.time_deviation
        )

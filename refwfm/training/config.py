"""What a run is asked for: what all models share, what those over Gaussians and over point clouds add."""

import math
from dataclasses import dataclass, fields
from typing import Any

from refwfm.couplings.outer import COSTS, INNER, OUTER
from refwfm.training.methods import METHODS

SOURCES = ("cholesky", "normal", "uniform", "pure", "barycentric", "family")
SOURCE_SIZES = ("partner", "data")
NETWORKS = ("transformer", "baseline")
ORDERED = ("linear", "lazy")
"""Plans between clouds that are vectors in the order of one reference."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What every run is asked for.

    Attributes
    ----------
    steps, batch : int
    width, depth, n_frequencies : int
        Of the networks: hidden layers ``depth`` x ``width``, Fourier features of time.
    learning_rate, decay, decay_every : float, float, int
        The rate is multiplied by ``decay`` every ``decay_every`` steps. (The base rate is not stated.)
    conditional : bool
        Condition on the labels of the family where it has them.
    clip_norm : float
        Bound on the gradient's global norm; 0 turns clipping off.
    ema : float
        Decay of the running mean of the parameters, which generation uses; 0 turns it off.
    seed : int
    """

    steps: int = 100_000
    batch: int
    width: int
    depth: int = 6
    n_frequencies: int = 16
    learning_rate: float
    decay: float = 0.97
    decay_every: int = 1000
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
        self._at_least_one("steps", "batch", "width", "depth", "n_frequencies", "decay_every")
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

    def _at_least_one(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}")

    def _one_of(self, name: str, choices: Any) -> None:
        if getattr(self, name) not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class GaussianConfig(TrainingConfig):
    """What a run over Gaussians is asked for; the defaults are the paper's settings (WFM App. E.1).

    Attributes
    ----------
    method : str
        A key of ``training.methods.METHODS``.
    label_dim : int
        Length of the label embedding.
    df : int, optional
        Degrees of freedom of the source's Wishart law; 2 d when left out. (Not stated.)
    matching : bool
        Optimal pairing of source and target within each batch (App. C), among those of one label.
    """

    method: str = "riemannian"
    batch: int = 128
    width: int = 1024
    learning_rate: float = 1e-3
    label_dim: int = 32
    df: int | None = None
    matching: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._one_of("method", METHODS)
        self._at_least_one("label_dim")


@dataclass(frozen=True, kw_only=True)
class CloudConfig(TrainingConfig):
    """What a run over point clouds is asked for; the defaults are the paper's settings (WFM App. E.2).

    Any outer plan goes with any inner plan, each of which says what it cannot take: Wasserstein flow matching
    is ``outer = "independent"`` with an optimal inner plan, the rest is its generalisation (GWFM).

    Attributes
    ----------
    network : str
        ``transformer`` (WFM App. E.2), or the ``baseline`` of GWFM C.7.
    heads, hidden : int
        Attention heads, and width of the feed-forward layers. (The latter is not stated.)
    neighbours : int
        Nearest neighbours of a point that the baseline reads. (Not stated.)
    n_points : int, optional
        Most points of a cloud in a step; of larger clouds so many are drawn afresh, without replacement.
        Plans and sources with a reference need clouds of so many points each, and draw them once.
    source : str
        ``cholesky`` (App. D), ``normal``, ``uniform``, ``pure`` or ``barycentric`` noise (GWFM 4.1), or
        ``family``: members of another family.
    source_size : str
        Points of a source cloud: as many as its ``partner`` has, or as many as a cloud of the ``data``
        drawn for itself. Members of a family have their own.
    outer : str
        Which source goes with which target of a batch, among those of one label: a name in
        ``outer.OUTER``.
    outer_eps : float
        Entropic regularisation of an outer plan that is an optimum (GWFM B.4), in units of the largest cost
        of a batch; 0: none.
    inner : str
        Which point goes where, a key of ``inner.INNER``; ``auto`` is what the paper does: ``rounded``
        where the two clouds of every pair have equal sizes, ``entropic`` otherwise.
    replace : bool
        Draw pairs from both plans with replacement, as GWFM C.2 does. Otherwise permutations are used as they
        are, so that all members and points of a batch are.
    n_proj : int
        Directions of sliced plans, drawn at each step.
    reference_members : int
        Members of the family whose barycenter the reference of linear and lazy plans and of barycentric noise
        is. (Not stated.)
    sigma : float
        Standard deviation of barycentric noise. This and the next are in the model's units, in which the
        family has variance 1 per coordinate. (The paper's numbers are not known: these are ours.)
    noise_mean, noise_low, noise_high : float
        Of pure noise: standard deviation of the clouds' means, and bounds of their scales.
    eps, sinkhorn_steps, scale_cost : float, int, str
        Of the entropic plan. The cost is divided by its largest entry, as in the authors' published code;
        their text does not say so.
    label_drop : float
        Share of the labels hidden in training, for classifier-free guidance.
    """

    batch: int = 64
    width: int = 512
    heads: int = 4
    hidden: int = 512
    learning_rate: float = 2e-4
    network: str = "transformer"
    neighbours: int = 8
    n_points: int | None = None
    source: str = "cholesky"
    source_size: str = "partner"
    outer: str = "independent"
    outer_eps: float = 0.0
    inner: str = "auto"
    replace: bool = False
    n_proj: int = 64
    reference_members: int = 256
    sigma: float = 0.1
    noise_mean: float = 0.4
    noise_low: float = 0.5
    noise_high: float = 1.2
    eps: float = 0.002
    sinkhorn_steps: int = 200
    scale_cost: str = "max"
    label_drop: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._one_of("network", NETWORKS)
        self._one_of("source", SOURCES)
        self._one_of("source_size", SOURCE_SIZES)
        self._one_of("outer", OUTER)
        self._one_of("inner", ("auto", *INNER))
        self._one_of("scale_cost", ("max", "mean", "none"))
        self._at_least_one("heads", "hidden", "neighbours", "n_points", "sinkhorn_steps", "n_proj")
        self._at_least_one("reference_members")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads; got {self.width} and {self.heads}")
        if not self.eps > 0 or not 0 <= self.label_drop < 1:
            raise ValueError(
                f"eps must be positive and label_drop in [0, 1); got {self.eps} and {self.label_drop}"
            )
        if not 0 <= self.outer_eps < math.inf:
            raise ValueError(f"outer_eps must be finite and not negative; got {self.outer_eps}")
        if self.outer_eps and self.outer not in COSTS:
            raise ValueError(
                f"outer_eps = {self.outer_eps} needs an outer plan of least cost: "
                f"one of {', '.join(COSTS)}; got {self.outer!r}"
            )
        if not 0 <= self.sigma < math.inf or not 0 <= self.noise_mean < math.inf:
            raise ValueError(
                "sigma and noise_mean must be finite and not negative; "
                f"got {self.sigma} and {self.noise_mean}"
            )
        if not 0 < self.noise_low <= self.noise_high < math.inf:
            raise ValueError(
                "noise_low and noise_high must be positive and finite, the first not above the second; "
                f"got {self.noise_low} and {self.noise_high}"
            )
        for name in ("outer", "inner"):
            if getattr(self, name) == "lazy" and self.source not in ("barycentric", "family"):
                raise ValueError(
                    f"{name} = 'lazy' takes sources that come in the order of the reference: "
                    f"source = 'barycentric', or another family; for {self.source!r} noise use 'linear', "
                    "which aligns them in every step"
                )

    @property
    def aligned(self) -> bool:
        """Whether a plan wants clouds that are aligned to a reference."""
        return self.outer in ORDERED or self.inner in ORDERED

    @property
    def has_reference(self) -> bool:
        """Whether the setting has a reference."""
        return self.aligned or self.source == "barycentric"

"""What a run over Gaussians, over clouds, or of Meta OT is asked for; defaults are the papers' settings.

Every option is declared once, beside what it is an option of: what all runs share in ``base_config``, the
network's in ``cloud_network``, the source's in ``noise``, those of plans here. The command line, its help and
the reader of TOML files are made from these declarations.
"""

from dataclasses import dataclass
from typing import ClassVar

from refwfm.couplings.costs import COSTS
from refwfm.couplings.inner import ENTROPIC, INNER
from refwfm.populations.embedding import POOLING
from refwfm.populations.pairs import SOURCES as STARTS_OF_PARTICLES
from refwfm.training.base_config import FlowOptions, TrainingConfig
from refwfm.training.cloud_network import NetworkOptions
from refwfm.training.methods import METHODS
from refwfm.training.noise import FAMILY, SourceOptions
from refwfm.training.options import option
from refwfm.training.semidiscrete import SEMIDISCRETE, PlanOptions
from refwfm.transport.starts import STARTS

ORDERED = ("linear", "lazy")
"""Plans between clouds that are vectors in the order of one reference."""


MEMBER_COSTS = ("auto", "lazy", "linear", "sliced", "frechet")
"""Costs of sources with all members that are quick enough for each step."""


@dataclass(frozen=True, kw_only=True)
class GaussianConfig(PlanOptions, FlowOptions):
    """What a run over Gaussians is asked for (WFM App. E.1; the degrees of freedom are not stated)."""

    PANEL: ClassVar[str] = "Models of Gaussians"

    batch: int = 128
    width: int = 1024
    learning_rate: float = 1e-3
    method: str = option("riemannian", "Which of the methods of WFM Table 2.", choices=METHODS)
    label_dim: int = option(32, "Length of the label embedding.", low=1)
    df: int | None = option(None, "Degrees of freedom of the source's Wishart law, at least d (default 2 d).")
    matching: bool = option(
        False,
        "Pair sources and targets of a batch optimally, among those of one label (WFM App. C); not for "
        "conditions, which it does not look at.",
    )
    state_features: int = option(
        0, "Random frequencies of the state that the network reads beside it (ours); 0 for none.", low=0
    )
    mean_scale: float = option(
        3.0,
        "Standard deviation of these frequencies in the directions of the mean, in radians / standard "
        "deviation of the data.",
        low=0,
    )
    cov_scale: float = option(1.0, "And in those of the covariance.", low=0)
    bounded_lifts: bool = option(
        False,
        "Generate with lifts between those that geodesics have, -1 / (1 - t) and 1 / t (ours; of "
        "method riemannian).",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.outer not in ("independent", SEMIDISCRETE):
            raise ValueError(
                f"outer = {self.outer!r} is for clouds; Gaussians take 'independent', '{SEMIDISCRETE}', or "
                "matching = True (--matching), optimal pairs of a batch"
            )
        if self.outer == SEMIDISCRETE and self.matching:
            raise ValueError("outer = 'semidiscrete' and matching = True both pair: take one of them")


@dataclass(frozen=True, kw_only=True)
class OuterOptions(PlanOptions):
    """Outer plans of clouds."""

    outer_cost: str = option(
        "auto",
        "Cost of a semidiscrete plan; auto: 'lazy' for barycentric noise, else 'frechet'.",
        choices=MEMBER_COSTS,
    )
    outer_eps: float = option(
        0.0,
        "Entropic regularisation of an outer plan of least cost, relative to its largest cost; 0: exact.",
        low=0,
    )


@dataclass(frozen=True, kw_only=True)
class InnerOptions:
    """Which point goes where; ``auto`` is what the paper of WFM does.

    The cost of entropic plans is divided by its largest entry, as in the code that the authors published;
    their text does not say so.
    """

    PANEL: ClassVar[str] = "Inner plan: which point goes where"

    inner: str = option(
        "auto",
        "Inner plan; auto: 'rounded' where the two clouds of every pair have equal sizes, else 'entropic'.",
        choices=("auto", *INNER),
    )
    replace: bool = option(
        False, "Draw pairs from both plans with replacement (GWFM C.2); else permutations are used whole."
    )
    n_proj: int = option(64, "Number of random directions of sliced plans, drawn at each step.", low=1)
    eps: float = option(
        0.002,
        "Entropic regularisation of inner plans, relative to scale_cost; of Meta OT's problems, in units of "
        "their cost (default that of the pairs).",
        above=0,
    )
    sinkhorn_steps: int = option(200, "Iterations of Sinkhorn for an inner plan.", low=1)
    inner_tol: float = option(
        0.0,
        "Marginal error at which Sinkhorn for an inner plan stops before sinkhorn_steps; 0: never.",
        low=0,
    )
    inner_start: str = option(
        "zeros",
        "Where Sinkhorn for an inner plan starts: at zeros, at the potential of Gaussians with the clouds' "
        "moments, or at what a network predicts (Meta OT), which is trained before the first step.",
        choices=STARTS,
    )
    start_steps: int = option(500, "Steps of training of the network of inner_start = 'amortised'.", low=1)
    scale_cost: str = option(
        "max", "What eps is relative to: the largest or the mean cost of a pair, or none.",
        choices=("max", "mean", "none"),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CloudConfig(InnerOptions, OuterOptions, SourceOptions, NetworkOptions):
    """What a run over point clouds is asked for (WFM App. E.2).

    Any outer plan goes with any inner plan, each of which says what it cannot take: Wasserstein flow matching
    is ``outer = "independent"`` with an optimal inner plan, the rest is its generalisation (GWFM).
    """

    PANEL: ClassVar[str] = "Models of point clouds"

    batch: int = 64
    width: int = 512
    learning_rate: float = 2e-4
    n_points: int | None = option(
        None,
        "Largest number of points of a cloud in a step: larger clouds are thinned at random, anew at "
        "each step, or once where a plan or the source has a reference.",
        low=1,
    )
    label_drop: float = option(
        0.1, "Share of labels and conditions hidden in training, for guidance.", low=0, below=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.outer_eps and self.outer not in COSTS:
            raise ValueError(
                f"outer_eps = {self.outer_eps} needs an outer plan of least cost: "
                f"one of {', '.join(COSTS)}; got {self.outer!r}"
            )
        if self.noise_low > self.noise_high:
            raise ValueError(
                f"noise_low must not be above noise_high; got {self.noise_low} and {self.noise_high}"
            )
        if self.inner_start != "zeros" and self.inner not in ("auto", *ENTROPIC):
            raise ValueError(
                f"inner_start = {self.inner_start!r} is for plans that Sinkhorn's iteration solves: inner = "
                f"'auto' or one of {', '.join(ENTROPIC)}; got {self.inner!r}"
            )
        if self.outer == SEMIDISCRETE and self.source == FAMILY:
            raise ValueError(
                "outer = 'semidiscrete' needs a law to draw sources from, and a family is finite: use a plan "
                "of least cost (outer = 'frechet', 'sliced', ...), or 'paired'"
            )
        for name, plan in {"outer": self.outer, "inner": self.inner, "outer_cost": self.member_cost}.items():
            if plan == "lazy" and self.source not in ("barycentric", FAMILY):
                raise ValueError(
                    f"{name} = 'lazy' takes sources that come in the order of the reference: "
                    f"source = 'barycentric', or another family; for {self.source!r} noise use 'linear', "
                    "which aligns them in every step"
                )

    @property
    def member_cost(self) -> str | None:
        """Cost of a semidiscrete plan, with ``auto`` resolved; None without one."""
        if self.outer != SEMIDISCRETE:
            return None
        if self.outer_cost != "auto":
            return self.outer_cost
        return "lazy" if self.source == "barycentric" else "frechet"

    @property
    def plans(self) -> tuple[str | None, ...]:
        """What decides which source goes where, and which point."""
        return self.outer, self.inner, self.member_cost

    @property
    def aligned(self) -> bool:
        """Whether a plan wants clouds that are aligned to a reference."""
        return any(plan in ORDERED for plan in self.plans)

    @property
    def has_reference(self) -> bool:
        """Whether the setting has a reference."""
        return self.aligned or self.source == "barycentric"


@dataclass(frozen=True, kw_only=True)
class MetaOTConfig(TrainingConfig):
    """What a run of Meta OT is asked for (its paper's section 4.1 and public code; ours: the baseline)."""

    PANEL: ClassVar[str] = "Meta OT: potentials of pairs of histograms"

    steps: int = 50_000
    batch: int = 128
    width: int = 1024
    depth: int = 3
    learning_rate: float = 1e-3
    decay: float = 1.0
    ema: float = 0.0
    eps: float | None = option(
        None, "Entropic regularisation, in units of the cost (default that of the pairs).", above=0
    )
    baseline: str = option(
        "gaussian",
        "What the network corrects: the closed form for Gaussians, or none, as in the paper.",
        choices=("gaussian", "none"),
    )
    out_scale: float = option(
        0.0, "Factor on the last layer's random weights; 0 starts at the baseline, the paper's is 1.", low=0
    )
    mask_support: bool = option(
        True, "Leave atoms without weight out of the loss; --no-mask-support is the paper's public code."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mask_support and self.baseline != "none":
            raise ValueError(
                "mask_support = False is the paper's public code, where the network corrects nothing: "
                f"it needs baseline = 'none'; got {self.baseline!r}"
            )


@dataclass(frozen=True, kw_only=True)
class MetaCloudsConfig(TrainingConfig):
    """What a run of Meta OT between clouds is asked for; the paper has none."""

    PANEL: ClassVar[str] = "Meta OT: potentials of pairs of clouds"

    steps: int = 5000
    batch: int = 32
    width: int = 64
    depth: int = option(1, "Fixed: the network between clouds has one hidden layer.", low=1, high=1)
    learning_rate: float = 1e-3
    ema: float = 0.0
    eps: float | None = option(
        None,
        "Entropic regularisation, in units of the cost (default a hundredth of the mean squared distance).",
        above=0,
    )
    n_points: int | None = option(
        None, "Largest number of points of a cloud; larger ones are thinned.", low=1
    )


VARIANTS = {"fm": "none", "cgfm": "index", "mfm": "embedding"}
"""Variants of Meta Flow Matching as the paper calls them: what the velocity is told of the population."""


@dataclass(frozen=True, kw_only=True)
class MetaFMConfig(TrainingConfig):
    """What a run of Meta Flow Matching is asked for.

    The networks are the paper's; it takes 700 particles, learning rate 1e-4, no running mean and 300,000 to
    600,000 steps. Moments, maxima, attention and rotations are ours.
    """

    PANEL: ClassVar[str] = "Meta Flow Matching: particles of populations"

    steps: int = 20_000
    batch: int = 10
    width: int = 512
    depth: int = 4
    learning_rate: float = 1e-3
    decay: float = 1.0
    variant: str = option(
        "mfm",
        "What the velocity is told of a population: nothing, which one it is, or an embedding.",
        choices=VARIANTS,
    )
    start: str = option(
        "data", "Where particles start: where they are, or noise (w/N).", choices=STARTS_OF_PARTICLES
    )
    particles: int = option(256, "Particles of each population in a step.", low=1)
    reads: int = option(
        0,
        "Particles of each population that are read and do not move; 0: those that move are read.",
        low=0,
    )
    pairs: str = option(
        "given",
        "Which particle goes where: as in the data, or by optimal plans.",
        choices=("given", "optimal"),
    )
    neighbours: int = option(10, "Neighbours in the graph of a population; 0 for none (Deep Sets).", low=0)
    proportional: bool = option(
        False,
        "In prediction, neighbours grow with the population: as large a share of it as of the particles that "
        "are read in training.",
    )
    graph_layers: int = option(3, "Layers of the graph network.", low=1)
    graph_width: int = option(64, "Width of the graph network.", low=1)
    pooling: str = option("mean", "What an embedding keeps of the particles.", choices=POOLING)
    attention: int = option(
        0, "Width of an attention of moving particles to those of the population; 0 for none.", low=0
    )
    kernels: int = option(
        0, "Bandwidths at which moving particles look at those of the population; 0 for none.", low=0
    )
    bandwidth: float = option(
        0.1,
        "The least of them, in standard deviations of the data; each other is twice the one before.",
        above=0,
    )
    heads: int = option(4, "Heads of that attention.", low=1)
    skip: bool = option(True, "Skip connections in the velocity; --no-skip for a plain perceptron.")
    n_time: int = option(128, "Features of time, an even number.", low=4)
    n_space: int = option(128, "Random frequencies of space.", low=1)
    space_scale: float = option(
        0.01, "Standard deviation of these frequencies, in 1 / standard deviation of the data.", above=0
    )
    alternate: bool = option(
        False, "Update embedding and velocity in turn: the one in even steps, the other in odd ones."
    )
    rotate: bool = option(False, "Turn each population at random in each step; for data in the plane.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_time % 2:
            raise ValueError(f"n_time must be even, for as many sines as cosines; got {self.n_time}")
        if not self.skip and self.depth < 2:
            raise ValueError("depth must be at least 2 for a plain perceptron (skip = False); got 1")
        if self.variant != "mfm":
            for name in ("alternate", "attention", "kernels", "reads", "proportional"):
                if getattr(self, name):
                    raise ValueError(f"{name} is for variant 'mfm', the only one with an embedding")
        if self.attention % self.heads:
            raise ValueError(f"attention must be a multiple of heads = {self.heads}; got {self.attention}")

    @property
    def condition(self) -> str:
        """What the velocity is told, a name of ``populations.objective.CONDITIONS``."""
        return VARIANTS[self.variant]

    @property
    def bandwidths(self) -> tuple[float, ...]:
        """Bandwidths of the kernels, in the model's units."""
        return tuple(self.bandwidth * 2.0**k for k in range(self.kernels))

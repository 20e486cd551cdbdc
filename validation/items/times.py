"""Audited construction of ours: times of training that are not uniform."""

import numpy as np
from scipy.integrate import quad
from scipy.special import expit, ndtri

from refwfm.training.times import sample_times
from refwfm.validation.check import Check, Item, Tolerance, worst_of

MANY = 40_000


def items() -> list[Item]:
    """Return the item of this section."""
    return [times_of_training()]


def times_of_training() -> Item:
    """Logit-normal times."""
    return Item(
        id="WFM-TIMES",
        paper="WFM",
        place="ours, not the paper's; Esser et al. 2024, section 3.1",
        title="logit-normal times of training",
        latex=r"\log\frac t{1-t}\sim N(m,s^2)",
        statement="Times of training are dense where velocities are hard to learn; the paper's are uniform.",
        functions=(sample_times,),
        checks=(
            Check(
                "shares below five times, by quadrature of the density",
                shares_are_those_of_the_density,
                sample_times,
                {
                    "a variance for a deviation": lambda rng, n, **law: sample_times(
                        rng, n, **{**law, "deviation": law["deviation"] ** 2}
                    ),
                    "time reversed": lambda rng, n, **law: 1.0 - sample_times(rng, n, **law),
                    "uniform": lambda rng, n, **_: sample_times(rng, n),
                    "logistic for normal": lambda rng, n, *, mean, deviation, **_: expit(
                        mean + deviation * rng.logistic(size=n)
                    ),
                    "mean after the deviation": lambda rng, n, *, mean, deviation, **_: expit(
                        deviation * (mean + ndtri(rng.random(n)))
                    ),
                },
                Tolerance(0.011, 0.011, "four standard errors of a share of 40,000, on 40 shares"),
                dimensions=(2,),
                everywhere=False,
            ),
            Check(
                "moments of the uniform law, the paper's",
                moments_are_uniform,
                sample_times,
                {
                    "logit-normal": lambda rng, n: sample_times(rng, n, law="logit-normal"),
                    "the later of two": lambda rng, n: np.maximum(rng.random(n), rng.random(n)),
                },
                Tolerance(0.008, 0.008, "five standard errors of means of 40,000"),
                dimensions=(2,),
                everywhere=False,
            ),
        ),
    )


def shares_are_those_of_the_density(sample, draw):
    """Largest difference of a share of draws, for two laws."""
    worst = 0.0
    for mean, deviation in ((0.5, 1.5), (-0.7, 0.6)):
        t = sample(draw.rng, MANY, law="logit-normal", mean=mean, deviation=deviation)

        def density(s, mean=mean, deviation=deviation):
            z = (np.log(s) - np.log1p(-s) - mean) / deviation
            return np.exp(-0.5 * z * z) / (np.sqrt(2 * np.pi) * deviation * s * (1 - s))

        for bound in (0.1, 0.3, 0.5, 0.7, 0.9):
            worst = worst_of(worst, abs(np.mean(t <= bound) - quad(density, 0.0, bound)[0]))
    return worst


def moments_are_uniform(sample, draw):
    """Largest error of the first four moments."""
    t = sample(draw.rng, MANY)
    return worst_of(*(abs(np.mean(t**k) - 1 / (k + 1)) for k in range(1, 5)))

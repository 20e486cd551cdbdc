"""Times of training: the paper's uniform ones are the generator's own, others keep their law's shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import kstest, norm

from refwfm.training.config import GaussianConfig
from refwfm.training.times import sample_times

SEEDS = st.integers(0, 2**32 - 1)
MEANS = st.floats(-3.0, 3.0)
DEVIATIONS = st.floats(0.05, 3.0)


@given(SEEDS)
def test_uniform_times_are_the_generators(seed):
    drawn = sample_times(np.random.default_rng(seed), 9)
    assert np.array_equal(drawn, np.random.default_rng(seed).random(9))


@given(SEEDS, MEANS, DEVIATIONS)
def test_logits_are_the_standard_ones_scaled_and_moved(seed, mean, deviation):
    def drawn(**law):
        return sample_times(np.random.default_rng(seed), 7, law="logit-normal", **law)

    times = drawn(mean=mean, deviation=deviation)
    assert times.dtype == np.float64
    assert np.all((times >= 0.0) & (times <= 1.0))
    np.testing.assert_allclose(logit(times), mean + deviation * logit(drawn()), rtol=1e-6, atol=1e-9)


def test_the_law_is_the_logit_normal_and_no_neighbour():
    times = sample_times(np.random.default_rng(3), 20_000, law="logit-normal", mean=0.4, deviation=1.2)
    assert kstest(logit(times), norm(0.4, 1.2).cdf).pvalue > 0.01
    assert kstest(logit(times), norm(0.4, 1.2**2).cdf).pvalue < 1e-6
    assert kstest(logit(times), norm(0.45, 1.2).cdf).pvalue < 1e-3


def test_a_law_costs_one_number_for_each_time_whatever_it_is():
    """So that all that a step draws after its times is the same under every law."""
    after = []
    for law in ("uniform", "logit-normal"):
        rng = np.random.default_rng(5)
        sample_times(rng, 4, law=law)
        after.append(rng.random())
    assert after[0] == after[1]


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ({"law": "normal"}, "law must be one of uniform, logit-normal; got 'normal'"),
        ({"mean": np.nan}, "mean must be finite, and deviation above 0; got nan and 1.0"),
        ({"deviation": 0.0}, "mean must be finite, and deviation above 0; got 0.0 and 0.0"),
        ({"deviation": np.inf}, "got 0.0 and inf"),
    ],
)
def test_what_is_no_law_is_refused(law, message):
    with pytest.raises(ValueError, match=message):
        sample_times(np.random.default_rng(0), 3, **law)


def test_a_configuration_draws_from_its_law():
    config = GaussianConfig(batch=6, time_law="logit-normal", time_mean=1.0, time_deviation=0.5)
    drawn = config.times(np.random.default_rng(2))
    law = sample_times(np.random.default_rng(2), 6, law="logit-normal", mean=1.0, deviation=0.5)
    assert np.array_equal(drawn, law)

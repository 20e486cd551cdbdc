"""Hypothesis strategies: covariances with eigenvalues over six orders of magnitude, and Gaussians."""

import numpy as np
import oracles
from hypothesis import strategies as st

from refwfm.measures import Gaussian

dimensions = st.integers(1, 6)
times = st.floats(0.0, 1.0)
seeds = st.integers(0, 2**32 - 1)
scales = st.floats(1e-3, 1e3)


@st.composite
def covariances(draw, d, singular=False):
    """``Q diag(λ) Qᵀ`` with λ in [1e-3, 1e3]; with ``singular`` any of the λ may be 0."""
    exponents = draw(st.lists(st.floats(-3.0, 3.0), min_size=d, max_size=d))
    values = 10.0 ** np.array(exponents)
    if singular:
        values *= draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=d, max_size=d))
    return oracles.from_spectrum(oracles.rotation(np.random.default_rng(draw(seeds)), d), values)


@st.composite
def gaussians(draw, d, singular=False):
    mean = draw(st.lists(st.floats(-10.0, 10.0), min_size=d, max_size=d))
    return Gaussian(np.array(mean), draw(covariances(d, singular)))


@st.composite
def tuples_of_gaussians(draw, count, singular=False):
    """``count`` Gaussians of one dimension."""
    d = draw(dimensions)
    return tuple(draw(gaussians(d, singular)) for _ in range(count))


pairs = tuples_of_gaussians(2)
triples = tuples_of_gaussians(3)
singular_pairs = tuples_of_gaussians(2, singular=True)
singular_triples = tuples_of_gaussians(3, singular=True)

"""Random problems of Meta OT, and the semi-dual as it is written."""

import numpy as np
from scipy.special import logsumexp

from refwfm.validation.check import Item, roundings
from refwfm.validation.entropic_problems import with_potentials

EXPONENTS = roundings(300, "exponents up to ten, relative to the largest cost")


def meta_item(number, place, title, latex, statement, functions, checks, misprints=()):
    """Item of the paper."""
    return Item(f"META-OT-{number}", "Meta OT", place, title, latex, statement, functions, checks, misprints)


# Oracles: the paper's convention, P = exp((f + g - K) / eps)


def semidual_of(f, cost, a, b, eps):
    """``⟨f, a⟩ + ⟨g, b⟩ - eps Σ P`` of one problem, f in the paper's convention; its g, and its plan."""
    g = eps * np.log(b) - eps * logsumexp((f[:, None] - cost) / eps, axis=0)
    P = np.exp((f[:, None] + g - cost) / eps)
    return f @ a + g @ b - eps * P.sum(), g, P


def drawn(draw):
    """Costs, weights that sum to 1, eps, and random potentials of the size of eps (product convention)."""
    cost, a, b, eps, f, _ = with_potentials(draw)
    return cost, a, b, eps, f


def at_eps(function):
    """With eps as an argument like the others."""
    return lambda f, cost, a, b, eps: function(f, cost, a, b, eps=eps)

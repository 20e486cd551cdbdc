"""Configurations of runs so small that a test can make several."""

from refwfm.training.config import CloudConfig

SMALL_CLOUDS = CloudConfig(
    steps=4, batch=6, width=8, depth=1, heads=2, hidden=8, n_frequencies=2, sinkhorn_steps=20
)

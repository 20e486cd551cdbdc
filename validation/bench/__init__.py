"""Benchmarks against named peers (``refwfm bench``); ``measure`` takes the times."""

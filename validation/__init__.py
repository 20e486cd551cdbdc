"""The audit of every formula against independent oracles (``refwfm verify``), and benchmarks beside it."""

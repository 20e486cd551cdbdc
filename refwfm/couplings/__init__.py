"""Couplings of a step: ``outer``, which source goes with which target; ``inner``, which point goes where."""

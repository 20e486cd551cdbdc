"""How good the result is.

``distances`` between clouds, nearest ``neighbours`` among them and among Gaussians (``nearest_gaussians``),
``statistics`` of distances, predicted ``populations`` beside the right ones, and the ``straightness`` of the
paths of generation.
"""

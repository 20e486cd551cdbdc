"""How good the result is.

``distances`` between clouds, nearest ``neighbours`` among them and among Gaussians (``nearest_gaussians``),
``statistics`` of distances, and the ``straightness`` of the paths of generation.
"""

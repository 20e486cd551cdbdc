"""Meta optimal transport: networks that read a pair of measures and predict the solution of their transport.

``potentials``        the dual potential of two histograms on fixed atoms, and its loss
``cloud_potentials``  the dual potential at the points of two clouds
"""

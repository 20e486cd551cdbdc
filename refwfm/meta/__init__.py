"""Meta optimal transport: networks that read a pair of measures and predict the solution of their transport.

``potentials``        the dual potential of two histograms on fixed atoms, and its loss
``cloud_potentials``  the dual potential at the points of two clouds
``icnn``              convex potentials as networks, and their gradients: maps
``w2gn``              losses that a pair of convex potentials is fitted with, conjugates, dual values
``hypernetwork``      a network that predicts such a pair of potentials from two clouds
``picnn``             convex potentials that depend on a condition, and their maps
``monge``             losses and starts of conditional maps
"""

"""Meta optimal transport: what predicts the solution of a transport problem from its two measures.

``icnn``          convex potentials as networks, and their gradients: maps
``w2gn``          losses that a pair of convex potentials is fitted with, conjugates, dual values
``hypernetwork``  a network that predicts such a pair of potentials from two clouds
``picnn``         convex potentials that depend on a condition, and their maps
``monge``         losses and starts of conditional maps
"""

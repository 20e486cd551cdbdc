"""The evidence that an iterative solver gives for its result, and the error that it raises without it.

A solver returns its evidence beside its result. The same names mean the same in every result:

``converged``             whether the evidence is good enough; never true of NaN
``n_iter``                iterations done (the network simplex does not report its pivots: it has none)
``row_error, col_error``  of a plan: L1 distances of its marginals from the weights
``residual``              of a fixed point: how far it is from being one, to compare with the tolerance

With ``require`` (the default wherever a person calls) bad evidence raises a ``ConvergenceError``, which says
what to try next; without, it is in the result.
"""


class ConvergenceError(RuntimeError):
    """A solver stopped before its result was as good as asked for."""

"""Optimal transport between point clouds: exact, entropic, on the line, sliced, linearised; and of families.

``problem``     cost matrix, two weight vectors, regularisation, and the checks of them
``exact``       assignments and exact plans; ``quantiles``: on the line; ``families``: between families
``sinkhorn``    entropic plans; ``gaussian_start``: where to begin; ``entropic``: the maps that come of them
``plans``       what is done with a plan: rounding, sampling
``fields``      what a plan, or a coupling of families, drives: fields, rates, losses
``sliced``      transport by sorting; ``linearized``: by a ``reference``; ``stability``: when that is exact
``fields``      what drives the curve of a plan, in textbook form
``emd``         earth mover's distances of clouds, and cheap bounds of them
"""

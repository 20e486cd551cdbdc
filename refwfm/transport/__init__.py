"""Optimal transport between point clouds: exact, entropic, on the line, sliced, linearised; and of families.

``problem``         cost matrix, two weight vectors, regularisation, and the checks of them
``programme``       the linear programme of one problem, solved and proved
``exact``           assignments and exact plans
``quantiles``       plans between measures on the line
``families``        transport between families of clouds
``sinkhorn``        entropic plans
``gaussian_start``  a potential to start Sinkhorn's iteration from
``grids``           entropic transport between histograms on a product grid, axis by axis
``semidual``        what one potential is worth, and the gradient of that
``starts``          starts by name, whether they are any good, errors at every iteration
``grid_displacement``  a plan's measure on its way, as a histogram
``sphere``          the cost of transport on the sphere
``entropic``        maps and a divergence from entropic plans
``plans``           what is done with a plan: rounding, sampling
``fields``          fields, rates and losses of a plan, or of a coupling of families, in textbook form
``sliced``          transport by sorting along directions
``linearized``      transport by alignment to one reference cloud
``reference``       the reference cloud to align to: a barycenter
``stability``       when the alignment to a reference is optimal
``emd``             earth mover's distances between clouds, and cheap bounds on them
"""

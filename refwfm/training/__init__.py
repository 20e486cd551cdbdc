"""Training: Algorithm 1 and all it needs.

``algorithm``   Algorithm 1, the same for Gaussians and for clouds
``gaussians``   for Gaussians; ``clouds``: to clouds; ``flows``: both, as one list of functions
``config``      what a run is asked for; ``methods``: the three methods for Gaussians
``regression``  batch, loss and gradient; ``optim``: the optimiser; ``randomness``: a generator for each step
``ops``         the operations that may have faster twins
"""

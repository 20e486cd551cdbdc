"""Training: Algorithm 1 and all it needs.

``algorithm``   Algorithm 1, the same for Gaussians and for clouds
``gaussians``   what is particular to Gaussians
``clouds``      what is particular to clouds
``flows``       the functions that ``gaussians`` and ``clouds`` both have
``config``      what a run is asked for, from ``base_config`` and ``options``
``presets``     values of what a run is not asked for itself
``cloud_fit``   what is fitted to a family of clouds, with its ``alignment``; kept in ``cloud_setting``
``inner_start``  where the iteration for the inner plans of clouds starts
``noise``       where a flow between clouds starts
``cloud_network``     networks of clouds by name
``cloud_generation``  what a trained network of clouds does
``meta_ot``     what is particular to pairs of histograms
``meta_fm``     what is particular to populations of particles
``population_prediction``  what a trained model of populations does
``labels``      labels of a conditional model
``conditions``  numbers that it is conditioned on, beside or instead of them
``methods``     the three methods for Gaussians
``regression``  batch, loss and gradient
``optim``       the optimiser
``team``        several processes that train one run
``randomness``  a generator for each purpose and step
``ops``         the operations that may have faster twins
"""

"""Flows of particles that read the population they start from: meta flow matching.

``graphs``     which particles are near each other, and the average over them
``embedding``  a graph network that summarises a population
``readout``    attention of moving particles to those of their population
``velocity``   the field: features of time and space, a perceptron
``pairs``      where particles start, where they go, and the line between
``objective``  the loss by what the velocity is told, and its gradient
``flow``       integrating the field
``oracles``    fields in closed form: what the networks aim at
``floors``     predictions without learning: what they must beat
"""

"""Flows of the particles of a population, which read the population they start from."""

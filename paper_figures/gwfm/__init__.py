"""Figures and tables of *Generalized Wasserstein Flow Matching*, one module each."""

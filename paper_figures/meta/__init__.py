"""Figures and tables of *Meta Optimal Transport*, one module each."""

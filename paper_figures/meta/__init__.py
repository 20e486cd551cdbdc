"""Figures and tables of *Meta Optimal Transport* (Amos, Luise, Cohen, Redko, ICML 2023)."""

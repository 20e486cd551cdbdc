"""Figures and tables of *Meta Flow Matching* (Atanackovic, Zhang, Amos, ..., Tong, Neklyudov, ICLR 2025)."""

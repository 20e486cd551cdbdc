"""Sliders of the report: what a formula does as a number changes, in frames that its functions computed."""

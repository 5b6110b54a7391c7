"""Measures of runs, as functions of arrays."""

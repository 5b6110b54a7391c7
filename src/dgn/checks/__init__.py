"""Checks that a device computes what NumPy and CPU compute, for whoever has a device that the tests have not seen.

  suite.py      all checks, in order, and what a failure leaves
  operators.py  operators at the shapes of a recipe, with gradients, against NumPy in float64
  models.py     sampler, R1, 16-bit layers, export; trainings on the device against CPU and on several devices
  report.py     the result as Markdown and JSON
  reference.py, linear.py  definitions in NumPy, which the tests use as well
"""

"""Checks that a device computes the same as NumPy and CPU, for devices on which the tests were never run.

  suite.py      all checks, in order, and what a failure leaves; check.py: a single comparison
  operators.py  operators at the shapes of a recipe, with gradients, against NumPy in float64
  models.py     decoder, sampler, R1, 16-bit layers, export
  trainings.py  iterations of trainings on the device against CPU, and on several devices
  report.py     the result as Markdown and JSON
  reference.py, linear.py  definitions in NumPy, which the tests use as well
"""

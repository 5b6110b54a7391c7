"""For MindSpore Lite 2.0 only, the last version on PyPI and the one for Ascend 310 with CANN 6; newer versions need
none of it.

  adjoint.py   Langevin dynamics whose gradient is written out: Lite 2.0 runs no graph of automatic differentiation
  mindir1.py   rewrites MindIR files of version 3 as version 1
"""

"""Deformable generator networks: appearance and geometry disentangled without labels (Xing et al., TPAMI 2020)."""

__version__ = "0.1.0"

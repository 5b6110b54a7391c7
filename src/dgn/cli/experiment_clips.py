"""The experiments on clips (5.6)."""

from __future__ import annotations

from typing import Dict

from dgn.cli.experiment_types import Experiment

EXPERIMENTS: Dict[str, Experiment] = {}

"""All checks of a device, and times and a trace of the checked model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dgn.bench import graphs, parts
from dgn.bench.profile import profile
from dgn.checks import models, operators, trainings
from dgn.checks.check import Check, Setup, guarded
from dgn.errors import first_line

GROUPS: dict[str, Callable[[Setup], Iterator[Check]]] = {
    "operators": operators.checks, "decoder": models.decoder, "sampler": models.posterior, "R1": models.r1,
    "16-bit layers": models.sixteen_bits, "export": models.export, "trainings": trainings.checks}


@dataclass
class Results:
    """checks: by group. measurements: times, operators and compile time of graphs. notes: failed measurements."""

    checks: dict[str, list[Check]] = field(default_factory=dict)
    measurements: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass, including checks that could not run."""
        return [check for checks in self.checks.values() for check in checks if not check.passed]


def run(setup: Setup, folder: Path, say: Callable[[str], None]) -> Results:
    """Runs all checks, then measures; the trace is written to `folder`. say: prints each line of the results.

    A failed timing is only noted; it is not a failed check.
    """
    results = Results()
    for name, checks in GROUPS.items():
        results.checks[name] = []
        for check in guarded(name, checks(setup)):
            results.checks[name].append(check)
            say(line(check))

    @functools.cache
    def made() -> dict[str, graphs.Graph]:
        return dict(graphs.training_graphs(setup.config, setup.batch))

    measures: dict[str, Callable[[], Any]] = {
        "graphs": lambda: {name: graphs.compiled_size(*graph)._asdict() for name, graph in made().items()},
        "trace": lambda: profile(made(), folder).name}
    if not setup.quick:
        measures["times"] = lambda: parts.summary(parts.measure(setup.config, parts.Setup(setup.batch, 5, 5)))
    for what, measure in measures.items():
        try:
            results.measurements[what] = measure()
        except Exception as error:  # whatever a device's library raises
            results.notes.append(f"{what}: {type(error).__name__}: {first_line(error)}")
            say(f"     not measured: {results.notes[-1]}")
    return results


def line(check: Check) -> str:
    """A check as a line of output."""
    return (f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.error:.1e} (allowed {check.tolerance:.0e})"
            + (f"; {check.note}" if check.note else ""))

"""The report of a check, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from dgn import device, machine, provenance
from dgn.checks.check import Setup
from dgn.checks.suite import Results
from dgn.files import write_json, write_text


def write(results: Results, setup: Setup, folder: Path) -> Path:
    """Writes report.json and report.md to `folder`; returns the path of report.md."""
    content = as_json(results, setup)
    write_json(folder / "report.json", content)
    write_text(folder / "report.md", as_markdown(content))
    return folder / "report.md"


def as_json(results: Results, setup: Setup) -> dict[str, Any]:
    """The report as a dictionary: versions, device, numerics, all checks, times."""
    cann = machine.cann()
    return {
        "passed": not results.failed, "device": device.current(), "devices": setup.devices, "quick": setup.quick,
        "batch": setup.batch, "versions": provenance.versions(), "cann": cann and cann.version,
        "npu-smi": machine.npu_smi(), "cuda": machine.cuda(), "numerics": dataclasses.asdict(setup.config.numerics),
        "model": dataclasses.asdict(setup.config.model),
        "checks": {group: [{**check._asdict(), "error": check.error if math.isfinite(check.error) else None,
                            "passed": check.passed} for check in checks] for group, checks in results.checks.items()},
        **results.measurements, "notes": results.notes, "logs": _logs(setup)}


def as_markdown(content: dict[str, Any]) -> str:
    """The report as Markdown."""
    checks = [check for group in content["checks"].values() for check in group]
    failed = sum(not check["passed"] for check in checks)
    facts = {"device": f"{content['device']}, {content['devices']} in use", **content["versions"],
             "CANN": content["cann"] or "not found", "npu-smi": "; ".join(content["npu-smi"]) or "not found",
             "CUDA": content["cuda"] or "not found", "batch": content["batch"], **content["numerics"]}
    lines = [f"# Device check: {f'{failed} of {len(checks)} checks failed' if failed else f'all {len(checks)} passed'}"
             + (" (quick: small shapes)" if content["quick"] else ""), "", "| | |", "|---|---|",
             *(f"| {name} | {value} |" for name, value in facts.items())]
    for group, rows in content["checks"].items():
        lines += ["", f"## {group[0].upper()}{group[1:]}", "", "| | error | allowed | |", "|---|---|---|---|"]
        for row in rows:
            error = "none" if row["error"] is None else f"{row['error']:.1e}"
            verdict = "ok" if row["passed"] else "**failed**"
            lines.append(f"| {row['name']} | {error} | {row['tolerance']:.0e} | {verdict} {_cell(row['note'])} |")
    if "graphs" in content:
        lines += ["", "## Graphs", "", "| graph | operators | compiled in |", "|---|---|---|"]
        lines += [f"| {name} | {sum(size['operators'].values())} | {size['seconds']:.1f} s |"
                  for name, size in content["graphs"].items()]
    if "times" in content:
        lines += ["", "## Times", "", "```", content["times"], "```"]
    if "trace" in content:
        lines += ["", f"A trace of the sampler and the training step is in `{content['trace']}` next to this report."]
    if content["logs"]:
        lines += ["", "Output of the other processes, next to this report:", "",
                  *(f"- `{path}`" for path in content["logs"])]
    lines += ["", *(f"Not measured: {note}" for note in content["notes"])]
    return "\n".join(lines).rstrip() + "\n"


def _logs(setup: Setup) -> list[str]:
    """Paths of the logs of other processes, from the folder of the report."""
    return [str(path.relative_to(setup.logs.parent)) for path in sorted(setup.logs.glob("*/*"))] if setup.logs else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

"""What the page shows of the training: facts, curves and metrics, in plain words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from dgn.indices import evenly_spaced
from dgn.nets.layers import parameter_count
from dgn.nets.model import GROUP_TEXTS
from dgn.provenance import provenance
from dgn.reading import is_finite
from dgn.run import Run

POINTS = 160  # of a curve, at most
METRICS_BYTES = 60_000  # of metrics.json, at most; a larger one is left out
PANELS = (
    ("Reconstruction error", "squared error per training image (MSRE); lower is better",
     {"msre": "training images"}),
    ("Spread of the latents", "standard deviation; the prior has 1",
     {f"{group}_std": text.name for group, text in GROUP_TEXTS.items()}),
    ("Distance of the encoder's latents from the prior", "KL divergence", {"kl": "KL divergence"}),
    ("Losses of the critic and the generator", "Eq. 22 of the paper", {"critic": "critic", "actor": "generator"}))
FACTORS = {"yaw": "turning left or right", "pitch": "looking up or down", "roll": "tilting",
           "skin": "colour of the skin", "hair_colour": "colour of the hair", "background_light": "background",
           "light": "direction of the light"}

Json = dict[str, Any]


def nouns(run: Run) -> list[str]:
    """What a sample is called, singular and plural."""
    data = run.config.data
    if data.frames:
        return ["clip", "clips"]
    if data.path is None:
        return ["face", "faces"]
    return ["digit", "digits"] if data.format == "mnist" else ["image", "images"]


def facts(run: Run, records: list[Json]) -> list[str]:
    """The run in a few words each. records: of its epochs."""
    data = run.config.data
    kind = f"generated {nouns(run)[1]}" if data.path is None else nouns(run)[1]
    frames = f", {data.frames} frames" if data.frames else ""
    minutes = sum(record.get("seconds", 0) for record in records) / 60
    done, planned = (records[-1]["epoch"] + 1 if records else 0), run.config.training.epochs
    epochs = f"{done} epochs" if done >= planned else f"{done} of {planned} epochs so far"
    return [f"{len(run.bank):,} {kind} of {data.size} × {data.size} pixels{frames}",
            f"{parameter_count(run.model):,} weights", f"{epochs} in {max(minutes, 1):.0f} min", program()]


def program() -> str:
    """The program's version, and the commit if there is one."""
    origin = provenance(0)
    return f"dgn {origin['dgn']}" + (f", commit {origin['commit'][:10]}" if "commit" in origin else "")


def public_metrics(metrics: Json) -> Json:
    """metrics.json without the commands and whatever else may name a path: a page is sent to others."""
    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cleaned(part) for key, part in value.items() if key != "provenance" and not _names_path(part)}
        if isinstance(value, list):
            return [cleaned(part) for part in value if not _names_path(part)]
        if isinstance(value, float):
            return _short(value) if np.isfinite(value) else None  # JSON has no NaN
        return value

    public = cleaned(metrics)
    return public if len(json.dumps(public)) < METRICS_BYTES else {}


def _names_path(value: Any) -> bool:
    return isinstance(value, str) and ("/" in value or "\\" in value)


def curves(records: list[Json]) -> list[Json]:
    """Panels {title, note, lines: [{name, x, y}]} of the training's records, a curve thinned to POINTS values."""
    thinned = [records[k] for k in evenly_spaced(len(records), POINTS)]
    panels = []
    for title, note, names in PANELS:
        lines = []
        for key, name in names.items():
            points = [(record["epoch"] + 1, record[key]) for record in thinned if is_finite(record.get(key))]
            if len(points) > 1:
                lines.append({"name": name, "x": [x for x, _ in points], "y": [_short(y) for _, y in points]})
        if lines:
            panels.append({"title": title, "note": note, "lines": lines})
    return panels


def numbers(run: Run, metrics: Json) -> list[Json]:
    """Measures {value, unit, label, note} that have a meaning for a newcomer."""
    measures = []

    def add(value: float, unit: str, label: str, note: str) -> None:
        measures.append({"value": f"{value:.1f}", "unit": unit, "label": label, "note": note})

    for key, name in (("train", "training"), ("unseen", "unseen")):
        part = _section(metrics, key)
        if is_finite(part.get("psnr")) and is_finite(part.get("msre")):
            add(part["psnr"], "dB", f"reconstruction of {name} {nouns(run)[1]}",
                f"peak signal-to-noise ratio, higher is better; squared error per image {part['msre']:.0f}")
    geometry = _section(metrics, "geometry")
    if is_finite(geometry.get("displacement_rms")) and is_finite(geometry.get("folded")):
        add(geometry["displacement_rms"], "pixels", "typical displacement",
            f"of {run.model.size} pixels; {100 * geometry['folded']:.1f}% of the pixels are folded")
    return measures


def exchange(metrics: Json) -> Json | None:
    """Correlations of the factors of exchanged faces with those of both donors; None if they were not measured."""
    title, table = "unseen faces", _section(metrics, "exchange_unseen")
    if not table:
        title, table = "training faces", _section(metrics, "exchange")
    factors = {name: _section(table, name) for name in table if name in FACTORS}
    rows = [{"factor": FACTORS[name], "appearance": _short(donors["appearance_donor"]),
             "geometry": _short(donors["geometry_donor"])}
            for name, donors in factors.items()
            if is_finite(donors.get("appearance_donor")) and is_finite(donors.get("geometry_donor"))]
    return {"title": title, "rows": rows} if rows else None


def _section(metrics: Json, name: str) -> Json:
    """A section of metrics.json; {} if it is missing or damaged."""
    section = metrics.get(name)
    return section if isinstance(section, dict) else {}


def _short(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")

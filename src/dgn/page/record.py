"""What the page shows of the training: facts, curves and measures, in plain words."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

import numpy as np

from dgn import __version__
from dgn.run import Run

POINTS = 160  # of a curve, at most
LINES = {"z_app_std": "appearance", "z_geo_std": "geometry", "z_std": "latent vector"}
PANELS = (
    ("Reconstruction error", "squared error of a training image (MSRE); lower is better",
     {"msre": "training images"}),
    ("Spread of the latents", "standard deviation; the prior has 1", LINES),
    ("Distance of q(z | x) from the prior", "KL divergence", {"kl": "KL divergence"}),
    ("Losses of the critic and the generator", "Eq. 22", {"critic": "critic", "actor": "generator"}))
FACTORS = {"yaw": "turning left or right", "pitch": "looking up or down", "roll": "tilting",
           "skin": "colour of the skin", "hair_colour": "colour of the hair", "background_light": "background",
           "light": "direction of the light"}

Json = Dict[str, Any]


def nouns(run: Run) -> List[str]:
    """What a sample is called, singular and plural."""
    data = run.config.data
    if data.frames:
        return ["clip", "clips"]
    if data.path is None:
        return ["face", "faces"]
    return ["digit", "digits"] if data.format == "mnist" else ["picture", "pictures"]


def facts(run: Run) -> List[str]:
    """The run in a few words each."""
    data, metrics = run.config.data, measures(run)
    parameters = sum(int(np.prod(p.shape)) for p in run.model.trainable_params())
    kind = f"generated {nouns(run)[1]}" if data.path is None else nouns(run)[1]
    frames = f", {data.frames} frames" if data.frames else ""
    found = [f"{len(run.bank):,} {kind} of {data.size} × {data.size} pixels{frames}",
             f"{_epochs(run)} epochs", f"{parameters:,} weights"]
    origin = metrics.get("provenance") or {}
    found.append(f"dgn {origin.get('dgn') or metrics.get('versions', {}).get('dgn') or __version__}"
                 + (f", commit {origin['commit'][:10]}" if origin.get("commit") else ""))
    return found


def _epochs(run: Run) -> int:
    records = run.folder.records()
    return records[-1]["epoch"] + 1 if records else run.config.training.epochs


def measures(run: Run) -> Json:
    """metrics.json, or {} if the run has none yet."""
    try:
        return json.loads(run.folder.results.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def curves(run: Run) -> List[Json]:
    """Panels {title, note, lines: [{name, x, y}]} of the training's records, a curve thinned to POINTS values."""
    records = run.folder.records()
    keep = np.unique(np.linspace(0, len(records) - 1, min(POINTS, len(records))).astype(int)) if records else []
    few = [records[k] for k in keep]
    panels = []
    for title, note, names in PANELS:
        lines = []
        for key, name in names.items():
            points = [(record["epoch"] + 1, record[key]) for record in few if record.get(key) is not None]
            if len(points) > 1:
                lines.append({"name": name, "x": [x for x, _ in points], "y": [_short(y) for _, y in points]})
        if lines:
            panels.append({"title": title, "note": note, "lines": lines})
    return panels


def numbers(run: Run) -> List[Json]:
    """Measures {value, unit, label, note} that have a meaning for a newcomer."""
    metrics, found = measures(run), []
    plural = nouns(run)[1]
    for key, label in (("train", f"training {plural}"), ("unseen", f"unseen {plural}")):
        part = metrics.get(key) or {}
        if part.get("psnr") is not None:
            found.append({"value": f"{part['psnr']:.1f}", "unit": "dB", "label": f"reconstruction of {label}",
                          "note": f"peak signal-to-noise ratio, higher is better; squared error {part['msre']:.0f} an "
                                  "image"})
    geometry = metrics.get("geometry") or {}
    if geometry.get("displacement_rms") is not None:
        found.append({"value": f"{geometry['displacement_rms']:.1f}", "unit": "pixels", "label": "typical displacement",
                      "note": f"of {run.model.size} pixels; {100 * geometry['folded']:.1f}% of the field is folded"})
    return found


def exchange(run: Run) -> Optional[Json]:
    """Correlations of the factors of exchanged faces with those of both donors; None if they were not measured."""
    metrics = measures(run)
    title, table = "unseen faces", metrics.get("exchange_unseen")
    if not table:
        title, table = "training faces", metrics.get("exchange")
    if not table:
        return None
    rows = [{"factor": FACTORS[name], "appearance": _short(donors["appearance_donor"]),
             "geometry": _short(donors["geometry_donor"])}
            for name, donors in table.items() if name in FACTORS
            and donors.get("appearance_donor") is not None and donors.get("geometry_donor") is not None]
    return {"title": title, "rows": rows} if rows else None


def _short(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")

"""The four models that the experiments compare, trained where they are not yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Sequence

from dgn import config as cfg

# learning method and model are independent: the paper's model, its two baselines (Table 1), and the fourth combination
MODELS: Dict[str, Dict[str, Dict[str, Any]]] = {
    "ours": {"model": {"kind": "deformable"}, "training": {"method": "abp"}},
    "ABP": {"model": {"kind": "plain"}, "training": {"method": "abp", "renew_appearance": ()}},
    "VAE": {"model": {"kind": "plain"}, "training": {"method": "vae", "renew_appearance": ()}},
    "deformable VAE": {"model": {"kind": "deformable"}, "training": {"method": "vae", "renew_appearance": ()}},
}


def config_of(name: str, config: cfg.Config) -> cfg.Config:
    """The config with the model and method of one of MODELS."""
    return cfg.changed(config, **MODELS[name])


def folder_name(name: str) -> str:
    """A model's name as part of a path."""
    return name.lower().replace(" ", "_")


def table(corner: str, columns: Sequence[str], rows: Dict[str, Sequence[str]]) -> str:
    """Rows of text in aligned columns."""
    lines = [[corner, *columns], *([name, *cells] for name, cells in rows.items())]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(line, widths))) for line in lines)


def experiment_folder(path: str) -> Path:
    """The output folder of an experiment that trains; what an earlier, unfinished call left in it is gone on with."""
    from dgn.errors import UserError

    folder = Path(path)
    if (folder / "config.yaml").exists():
        raise UserError(f"{folder} holds a single run; choose another --output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the output folder {folder}: {error.strerror or error}") from None
    return folder

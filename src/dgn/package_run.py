"""Makes a packaged model (dgn.packaged) of a run on generated images."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

from dgn import recipe
from dgn.config import changed
from dgn.errors import UserError
from dgn.files import disk_errors, new_folder, sha256, write_json, write_text
from dgn.indices import evenly_spaced
from dgn.nets.build import make_model
from dgn.run_folder import RESULTS, RunFolder
from dgn.training import checkpoint, parameters
from dgn.training.chain_encoder import load_chain_encoder, save_chain_encoder

RECORDS = 160  # largest number of epochs whose metrics are kept: the points of a curve on the page
WEIGHTS = "weights.ckpt"
NETWORKS = (WEIGHTS, "encoder.ckpt", "preconditioner.ckpt")  # files of a checkpoint that are kept, if they exist
LIMIT = 1_000_000  # largest size of a packaged model in bytes


def make(run: RunFolder, output: Path) -> int:
    """Writes the packaged form of a run to the new folder `output`; returns its size in bytes.

    Raises UserError if the run is on files, whose images would be missing elsewhere, or has no valid checkpoint.
    """
    if run.config.data.path is not None:
        raise UserError(f"{run.path} was trained on {run.config.data.path}; only runs on generated images can be "
                        "packaged, since the images are not part of the package")
    saved = checkpoint.newest_valid(run.checkpoints)
    new_folder(output)
    target = output / "checkpoints" / saved.name
    kept = {name: digest for name, digest in checkpoint.read_manifest(saved).items()
            if name in (*NETWORKS, "state.json") or name.endswith(".npy")}
    if (saved / checkpoint.AXES).exists():  # manifests of early checkpoints do not list it
        kept[checkpoint.AXES] = sha256(saved / checkpoint.AXES)
    with disk_errors(output):
        target.mkdir(parents=True)
        for name in kept:
            shutil.copyfile(saved / name, target / name)
    model = make_model(run.config)
    if (target / WEIGHTS).stat().st_size > LIMIT / 2:
        parameters.load(saved, {"weights": model})
        parameters.save(target / WEIGHTS, model, half=True)
        kept[WEIGHTS] = sha256(target / WEIGHTS)
    write_text(output / "config.yaml", recipe.dump(changed(run.config, training={"init_from": None})))
    write_json(target / checkpoint.MANIFEST, kept)
    encoder = load_chain_encoder(run, model, saved)
    if encoder is not None:
        save_chain_encoder(output, target, encoder, {}, half=True)
    records = run.read_metrics_log()
    kept_records = [records[k] for k in evenly_spaced(len(records), RECORDS)]
    write_text(output / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in kept_records))
    results = run.read_results()
    for part in (results, *results.values()):  # sections have an origin of their own
        if isinstance(part, dict) and "provenance" in part:
            part["provenance"]["command"] = without_folders(part["provenance"]["command"])
    write_json(output / RESULTS, results)
    return sum(path.stat().st_size for path in output.rglob("*") if path.is_file())


def without_folders(command: str) -> str:
    """A command line with absolute paths shortened to their last two parts."""
    words = shlex.split(command)
    return shlex.join([str(Path(*Path(word).parts[-2:])) if Path(word).is_absolute() else word for word in words])

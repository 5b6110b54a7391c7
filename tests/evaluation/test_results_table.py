"""The table of results from metrics.json files that the test writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dgn.__main__ import main
from dgn.errors import UserError
from dgn.evaluation import results_table
from dgn.provenance import origin, versions

WHOLE = {"train": {"images": 300, "msre": 26.66, "psnr": 26.71},
         "unseen": {"images": 60, "msre": 40.93, "psnr": 25.06, "start": "mean", "steps": 300},
         "appearance": {"nyquist_ratio": 0.004}, "geometry": {"displacement_rms": 3.17, "folded": 0.0034},
         "exchange": {"yaw": {"own": 0.95, "geometry_donor": 0.689, "appearance_donor": -0.482}},
         **origin(1.0)}
VERSIONS = versions()


def write(folder: Path, metrics) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_every_column_of_a_whole_run(tmp_path):
    folder = write(tmp_path / "run", WHOLE)
    title, rule, row = results_table.table([folder]).splitlines()
    assert cells(title) == list(results_table.COLUMNS) and set(rule) == set("|- ")
    assert cells(row) == [str(folder), "300 / 60", "26.7 / 40.9", "26.7 / 25.1", "mean / 300", "0.00", "3.2", "0.3",
                          "0.69 / -0.48",
                          f"CPU, {VERSIONS['processor']}, MindSpore {VERSIONS['mindspore']}, dgn {VERSIONS['dgn']}"]


def test_missing_values_are_dashes():
    """A plain model without unseen images, and the metrics.json of an experiment alone."""
    plain = results_table.row("plain", {"train": {"images": 10, "msre": 5.04, "psnr": float("inf")}})
    assert plain == ("plain", "10 / -", "5.0 / -", *["-"] * (len(results_table.COLUMNS) - 3))
    assert set(results_table.row("views", {"views": {"ratio": 1.5}, "train": None})[1:]) == {"-"}


def test_rows_keep_their_order_and_a_bar_in_a_name_is_escaped(tmp_path):
    folders = [write(tmp_path / name, WHOLE) for name in ("b", "a|c")]
    rows = results_table.table(folders).splitlines()[2:]
    assert rows[0].startswith(f"| {tmp_path}/b |") and rows[1].startswith(f"| {tmp_path}/a\\|c |")


@pytest.mark.parametrize("content, message", [(None, "has no metrics.json; python -m dgn evaluate"),
                                              ("{", "cannot read"), ("[1]", "it holds no keys and values")])
def test_a_folder_without_readable_metrics_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(UserError, match=message):
        results_table.table([tmp_path])


def test_command(tmp_path, capsys, monkeypatch):
    folders = [str(write(tmp_path / name, WHOLE)) for name in "ab"]
    assert main(["results", *folders]) == 0
    assert capsys.readouterr().out == results_table.table([Path(folder) for folder in folders])
    assert main(["results", "faces"]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("| faces | 1000 / 60 |")
    monkeypatch.chdir(tmp_path)  # what evaluate wrote for the packaged model comes first
    write(tmp_path / "runs" / "packaged" / "faces", {"train": {"images": 7}})
    assert main(["results", "faces"]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("| faces | 7 / - |")
    assert main(["results", str(tmp_path)]) == 2
    assert "has no metrics.json" in capsys.readouterr().err

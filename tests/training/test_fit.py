"""What train.log holds of a training that fails."""

from __future__ import annotations

import pytest

from dgn import config as cfg
from dgn.errors import RunFailed
from dgn.run_folder import RunFolder
from dgn.training import fit


@pytest.mark.parametrize("error, lines", [
    (RuntimeError("a kernel\nfailed\x1b"), ["Traceback (most recent call last):", "RuntimeError: a kernel",
                                            "failed\\x1b"]),
    (RunFailed("a chain diverged"), ["dgn: a chain diverged"])])
def test_every_failure_is_in_the_log_below_versions_and_device(error, lines, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(fit, "_fit", fail)
    folder = RunFolder.create(tmp_path / "run", cfg.Config())
    with pytest.raises(type(error)):
        fit.fit(folder, folder.config, None)
    versions, *said = folder.train_log.read_text().splitlines()
    assert versions.startswith("dgn 0.") and ", mindspore 2." in versions and versions.endswith(", device CPU")
    assert [line for line in said if not line.startswith("  ")] == lines


def test_a_log_on_a_full_disk_does_not_hide_the_failure(tmp_path, monkeypatch):
    def fail(*_):
        def append(*_):
            raise RunFailed("cannot write train.log")

        monkeypatch.setattr(fit, "append_line", append)
        raise RunFailed("cannot write the checkpoint")

    monkeypatch.setattr(fit, "_fit", fail)
    folder = RunFolder.create(tmp_path / "run", cfg.Config())
    with pytest.raises(RunFailed, match="cannot write the checkpoint"):
        fit.fit(folder, folder.config, None)

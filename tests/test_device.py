"""The choice of the device."""

from __future__ import annotations

import pytest

from dgn import device, machine


def test_auto_keeps_the_device_in_use(monkeypatch):
    monkeypatch.setattr(device, "available", lambda name: True)  # Ascend, too, which would otherwise be preferred
    assert device.start() == "CPU" == device.current()


@pytest.mark.parametrize("files, expected", [
    ({}, None), ({"cpu.max": "max 100000\n"}, None), ({"cpu.max": "150000 100000\n"}, 2),
    ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3)])
def test_threads_follow_the_quota_of_the_control_group(tmp_path, files, expected):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert machine._quota(tmp_path) == expected


def test_threads_follow_the_affinity(monkeypatch):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert machine.cores() == 1

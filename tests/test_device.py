"""The choice of the device."""

from __future__ import annotations

from dgn import device


def test_auto_keeps_the_device_in_use(monkeypatch):
    monkeypatch.setattr(device, "available", lambda name: True)  # Ascend, too, which would otherwise be preferred
    assert device.start() == "CPU" == device.current()

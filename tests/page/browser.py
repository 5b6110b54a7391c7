"""A headless Chromium, driven by the DevTools protocol over a WebSocket."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import websocket

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
           "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
           "--remote-debugging-port=0", "--remote-allow-origins=*", "--hide-scrollbars")
PATIENCE = 40


def program() -> str | None:
    """The path of a Chromium on this machine; None if there is none."""
    named = os.environ.get("DGN_CHROMIUM")
    return named or next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Browser:
    """One tab. events: protocol events so far, in order."""

    def __init__(self, executable: str, folder: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._number = 0
        self._process = subprocess.Popen(
            [executable, *OPTIONS, f"--user-data-dir={folder}", "about:blank"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = _wait(lambda: self._port(folder / "DevToolsActivePort"), "Chromium did not open its port")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=PATIENCE) as answer:
                tab = next(target for target in json.load(answer) if target["type"] == "page")
            self._socket = websocket.create_connection(tab["webSocketDebuggerUrl"], timeout=PATIENCE)
        except BaseException:
            self._process.kill()
            raise
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _port(self, file: Path) -> str | None:
        if self._process.poll() is not None:
            raise RuntimeError(f"Chromium ended with exit code {self._process.returncode}")
        lines = file.read_text().splitlines() if file.exists() else []
        return lines[0] if lines else None

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a protocol method. Raises RuntimeError if it fails."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            if "method" in message:
                self.events.append(message)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression. Raises RuntimeError if it throws."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, script: str) -> Any:
        """Waits until a JavaScript expression is true."""
        return _wait(lambda: self.evaluate(script), f"not true after {PATIENCE} s: {script}")

    def open(self, page: Path) -> None:
        """Opens a page file and waits until it is ready."""
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("document.documentElement?.dataset.ready === 'yes'")

    def window(self, width: int, height: int, dark: bool = False) -> None:
        """Sets the size in CSS pixels and the colour scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def press(self, key: str, code: int) -> None:
        """A key with its Windows key code, as a user presses it."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Writes a PNG of the window, or of the whole page."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[Any]:
        """Exceptions, and errors in the console, so far."""
        self.evaluate("0")
        return [event["params"] for event in self.events if event["method"] == "Runtime.exceptionThrown" or (
            event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error")]

    def requests(self) -> list[str]:
        """Addresses that were fetched so far."""
        self.evaluate("0")
        return [event["params"]["request"]["url"] for event in self.events
                if event["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        """Ends the browser."""
        try:
            self.call("Browser.close")
            self._socket.close()
        except (OSError, websocket.WebSocketException):
            pass
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _wait(condition: Any, message: str) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise TimeoutError(message)

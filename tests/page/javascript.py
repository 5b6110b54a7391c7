"""decoder.js in an embedded V8."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from py_mini_racer import MiniRacer

from dgn import page


def javascript_engine() -> MiniRacer:
    """An engine that has loaded decoder.js."""
    engine = MiniRacer()
    engine.eval((Path(page.__file__).parent / "decoder.js").read_text(encoding="utf-8"))
    return engine


class JavaScript:
    """The decoder of a description; arrays: base64."""

    def __init__(self, description: dict[str, Any], arrays: str) -> None:
        self.engine = javascript_engine()
        self.engine.eval(f"var decoder = DgnDecoder.create({json.dumps(description)}, DgnDecoder.bytesOf('{arrays}'));")
        self.engine.eval("""
            function fieldsOf(one) {
              return [one.image, one.appearance, one.displacement].map((part) => part && Array.from(part));
            }
            function decoded(latents) {
              const all = decoder.decode(latents.map((z) => Float32Array.from(z)));
              return JSON.stringify(Array.isArray(all) ? all.map(fieldsOf) : [fieldsOf(all)]);
            }""")

    def decode(self, latents: list[np.ndarray]) -> list[list]:
        """[image, appearance, displacement] of every frame of one sample, flat lists."""
        return json.loads(self.engine.call("decoded", [z.tolist() for z in latents]))

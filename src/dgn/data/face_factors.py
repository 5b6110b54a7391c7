"""The factors of a drawn face: names, ranges, and the populations that they are sampled from."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from dgn.randomness import generator


@dataclass(frozen=True)
class Factors:
    """All factors of variation of a face.

    The first block is appearance (the colour of each point of the head), the second geometry (where that point appears
    in the image). Each leaves the other unchanged.
    """

    skin: float = 0.7  # tone, 0 dark .. 1 light
    hairline: float = 0.5  # lower end of the hair on the forehead, 0 receding .. 1 fringe
    hair_length: float = 0.3  # 0 cropped .. 1 beyond the chin
    hair_colour: float = 0.3  # 0 black, 0.3 brown, 0.55 auburn, 0.8 blond, 1 light grey
    parting: float = 0.0  # slant of the hairline, -1 low on the image's left .. 1 low on its right
    beard: float = 0.0  # 0 shaven .. 1 full
    brow_darkness: float = 0.6  # 0 faint .. 1 dark
    brow_thickness: float = 0.5  # 0 thin .. 1 thick
    lip_redness: float = 0.4  # 0 nearly skin .. 1 red
    eye_colour: float = 0.2  # 0 brown, 0.4 green, 0.75 blue, 1 light grey
    cheek_redness: float = 0.3  # 0 none .. 1 flushed
    freckles: float = 0.0  # 0 none .. 1 strong; their places depend on `identity`
    texture: float = 0.5  # strength of the uneven skin tone, 0 .. 1; its pattern depends on `identity`
    light: float = 0.0  # direction of the light, in head coordinates: -1 image's left .. 1 its right
    background_hue: float = 0.55  # position on the colour circle, 0 .. 1
    background_light: float = 0.6  # 0 dark .. 1 light
    background_gradient: float = 0.0  # brightness gradient from left to right, -1 .. 1

    yaw: float = 0.0  # degrees, positive: the nose points to the image's right
    pitch: float = 0.0  # degrees, positive: the nose is raised
    roll: float = 0.0  # degrees, positive: clockwise in the image
    head_width: float = 1.0  # relative to the neutral width, 0.85 .. 1.15
    jaw_width: float = 0.0  # relative widening of the jaw, -0.2 pointed .. 0.2 square
    mouth_open: float = 0.0  # 0 closed .. 1 wide open
    smile: float = 0.0  # -1 corners down .. 1 corners up
    brow_raise: float = 0.0  # -1 frown (inner ends down) .. 1 raised
    eye_open: float = 1.0  # relative to the neutral opening, 0.1 nearly shut .. 1.6 wide

    identity: int = 0  # key of the random skin pattern; a label, not a quantity


_SCALARS = tuple(field.name for field in fields(Factors) if field.name != "identity")
APPEARANCE: tuple[str, ...] = _SCALARS[: _SCALARS.index("yaw")]
GEOMETRY: tuple[str, ...] = _SCALARS[_SCALARS.index("yaw"):]
EXPRESSIONS: tuple[str, ...] = ("happiness", "sadness", "anger", "fear", "disgust", "surprise")

# The factors that an expression changes, and what each expression adds to them at its apex.
EXPRESSION_FACTORS: tuple[str, ...] = ("mouth_open", "smile", "brow_raise", "eye_open")
_APEX = {
    "happiness": (0.30, 1.00, 0.15, -0.25),
    "sadness": (0.00, -0.85, 0.35, -0.35),
    "anger": (0.12, -0.45, -1.00, 0.05),
    "fear": (0.45, -0.50, 0.70, 0.45),
    "disgust": (0.15, -0.70, -0.70, -0.50),
    "surprise": (0.95, 0.00, 1.00, 0.55),
}
_LIMITS = {"mouth_open": (0.0, 1.0), "smile": (-1.0, 1.0), "brow_raise": (-1.0, 1.0), "eye_open": (0.1, 1.6)}


def _draw_appearance(rng: np.random.Generator) -> dict[str, Any]:
    """Appearance and bone structure of a random person. Beards correlate with shorter hair, thicker brows and paler
    lips."""
    bearded = rng.random() < 0.4
    return {
        "skin": rng.uniform(0.0, 1.0),
        "hairline": rng.uniform(0.1, 0.9),
        "hair_length": rng.uniform(0.0, 0.35) if bearded else rng.uniform(0.1, 0.7),
        "hair_colour": rng.uniform(0.0, 1.0),
        "parting": rng.uniform(-0.6, 0.6),
        "beard": rng.uniform(0.3, 1.0) if bearded else 0.0,
        "brow_darkness": rng.uniform(0.4, 1.0),
        "brow_thickness": rng.uniform(0.4, 1.0) if bearded else rng.uniform(0.1, 0.7),
        "lip_redness": rng.uniform(0.1, 0.4) if bearded else rng.uniform(0.2, 1.0),
        "eye_colour": rng.uniform(0.0, 1.0),
        "cheek_redness": rng.uniform(0.0, 0.8),
        "freckles": max(0.0, rng.uniform(-1.0, 1.0)),
        "texture": rng.uniform(0.2, 1.0),
        "light": rng.uniform(-1.0, 1.0),
        "background_hue": rng.uniform(0.0, 1.0),
        "background_light": rng.uniform(0.2, 0.9),
        "background_gradient": rng.uniform(-0.6, 0.6),
        "head_width": rng.uniform(0.92, 1.08),
        "jaw_width": rng.uniform(-0.12, 0.15),
        "identity": int(rng.integers(2**31)),
    }


def sample_factors(seed: int, index: int) -> Factors:
    """Face `index` of the default population: a random person with a random pose and a moderate expression."""
    rng = generator(seed, "faces", index)
    return Factors(
        **_draw_appearance(rng),
        yaw=rng.uniform(-35.0, 35.0),
        pitch=rng.uniform(-15.0, 15.0),
        roll=rng.uniform(-8.0, 8.0),
        mouth_open=max(0.0, rng.uniform(-0.5, 0.6)),
        smile=rng.uniform(-0.5, 0.9),
        brow_raise=rng.uniform(-0.5, 0.7),
        eye_open=rng.uniform(0.65, 1.3),
    )


def subject_factors(seed: int, subject: int) -> Factors:
    """The frontal neutral face of person `subject`; appearance and bone structure are random."""
    return Factors(**_draw_appearance(generator(seed, "face subjects", subject)))


def with_expression(factors: Factors, expression: str, amount: float) -> Factors:
    """`factors` with an expression of EXPRESSIONS: amount 0 is none of it, 1 its apex."""
    changed = {}
    for name, change in zip(EXPRESSION_FACTORS, _APEX[expression]):
        low, high = _LIMITS[name]
        changed[name] = min(high, max(low, getattr(factors, name) + amount * change))
    return replace(factors, **changed)

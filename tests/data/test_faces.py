"""Drawn faces do what their factors say."""

from __future__ import annotations

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dgn import recipe
from dgn.__main__ import main
from dgn.data import faces
from dgn.data.face_clips import FaceClips
from dgn.data.face_factors import APPEARANCE, GEOMETRY
from dgn.data.face_paint import material_coordinates
from dgn.data.face_surface import Window
from dgn.data.open import open_sources
from dgn.errors import UserError

SIZE = 64
FIRST_YAW, FIRST_MEAN = 26.96176229399901, 0.2911  # of face 5 of seed 1
FACE = replace(faces.subject_factors(1, 3), texture=0.0, freckles=0.0, parting=0.0, background_gradient=0.0)


def grey_values(image):
    return np.rint(255 * image)


def test_a_face_is_a_function_of_seed_and_index():
    first, again = (faces.render(faces.sample_factors(1, 5), SIZE).image for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (3, SIZE, SIZE) and first.dtype == np.float32 and first.min() >= 0 and first.max() <= 1
    np.testing.assert_allclose(grey_values(first), 255 * first, atol=1e-3)
    assert np.abs(first - faces.render(faces.sample_factors(1, 6), SIZE).image).mean() > 0.02
    assert faces.sample_factors(1, 5) != faces.sample_factors(2, 5)
    # known values, so that another machine or version is noticed
    assert faces.sample_factors(1, 5).yaw == pytest.approx(FIRST_YAW, abs=1e-9)
    assert first.mean() == pytest.approx(FIRST_MEAN, abs=2e-3)


@pytest.mark.parametrize("size", [SIZE, faces.SUPERSAMPLING_BELOW])
def test_a_window_shows_what_the_whole_has_there(size):
    turned = replace(FACE, yaw=20.0)
    whole, part = faces.draw(turned, size, False), faces.draw(turned, size, False, Window(9, 17, 30))
    np.testing.assert_array_equal(part, whole[:, 17:47, 9:39])


def test_appearance_moves_no_landmark():
    still = faces.render(FACE, SIZE).landmarks
    for name in APPEARANCE:
        moved = replace(FACE, **{name: 0.9 if getattr(FACE, name) < 0.5 else 0.1})
        np.testing.assert_array_equal(faces.render(moved, SIZE).landmarks, still, err_msg=name)


def test_light_from_the_other_side_and_a_turn_to_the_other_side_mirror_the_face():
    turned = replace(FACE, yaw=20.0, light=0.6)
    mirrored = replace(FACE, yaw=-20.0, light=-0.6)
    a, b = faces.render(turned, SIZE), faces.render(mirrored, SIZE)
    difference = np.abs(a.image - b.image[..., ::-1])
    assert np.quantile(difference, 0.95) < 0.03 and difference.mean() < 0.01  # strands of hair are not symmetric
    np.testing.assert_allclose(a.landmarks[2], [SIZE - 1, 0] + b.landmarks[2] * [-1, 1], atol=0.05)


def test_turning_moves_the_nose_and_hides_a_side():
    noses = [faces.render(replace(FACE, yaw=yaw), SIZE).landmarks[2, 0] for yaw in (-30, -15, 0, 15, 30)]
    assert (np.diff(noses) > 2).all()

    def share_of_right_half(yaw):
        coordinates, mask = material_coordinates(replace(FACE, yaw=yaw), SIZE)
        return (coordinates[mask][:, 0] > 0).mean()
    shares = [share_of_right_half(yaw) for yaw in (-30, 0, 30)]
    assert shares[0] > 0.62 and shares[1] == pytest.approx(0.5, abs=0.02) and shares[2] < 0.38


def test_a_turned_face_shows_the_same_colours_at_the_same_points_of_the_head():
    """Warping the frontal picture by the correspondence gives the turned one where both show the same point."""
    front, turned = replace(FACE, yaw=0.0), replace(FACE, yaw=18.0, pitch=5.0)
    (from_points, from_mask), (to_points, to_mask) = (material_coordinates(f, SIZE) for f in (front, turned))
    source, target = (faces.render(f, SIZE).image.transpose(1, 2, 0) for f in (front, turned))
    colours, points = source[from_mask], from_points[from_mask]
    errors = []
    for y, x in np.argwhere(to_mask)[::7]:
        distance = np.square(points - to_points[y, x]).sum(1)
        if distance.min() < 0.015 ** 2:  # a pixel is 0.03 wide: nearly the same point is seen in both
            errors.append(np.abs(colours[distance.argmin()] - target[y, x]).max())
    assert len(errors) > 40
    assert np.median(errors) < 0.03 and np.quantile(errors, 0.9) < 0.15


def test_landmarks_lie_on_their_features():
    for factors in (FACE, replace(FACE, yaw=20.0), replace(FACE, roll=8.0, pitch=-10.0)):
        face = faces.render(replace(factors, skin=0.9, eye_open=1.2, eye_colour=0.0), 128)
        brightness = face.image.mean(0)
        for x, y in face.landmarks[:2]:
            x, y = int(round(x)), int(round(y))
            ring = brightness[y - 9:y + 10, x - 9:x + 10]
            # the pupil is the dark middle of an eye
            assert brightness[y - 1:y + 2, x - 1:x + 2].mean() < ring.mean() - 0.1


def test_expressions_move_what_they_should():
    neutral, surprised = FACE, faces.with_expression(FACE, "surprise", 1.0)
    assert surprised.mouth_open > 0.9 and surprised.brow_raise > 0.9 and surprised.eye_open > neutral.eye_open
    assert faces.with_expression(FACE, "anger", 0.0) == FACE
    happy = faces.render(faces.with_expression(FACE, "happiness", 1.0), SIZE).landmarks
    sad = faces.render(faces.with_expression(FACE, "sadness", 1.0), SIZE).landmarks
    assert (happy[3:, 1] < sad[3:, 1] - 1).all()  # corners of the mouth up, and down


def test_a_source_reads_any_order_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(faces, "CACHE_MB", 3 * 3 * 16 * 16 / 2 ** 20)
    source = faces.FaceSource(6, 16, 1)
    assert source._cache.nbytes <= 3 * 3 * 16 * 16
    everything = source.read(np.arange(6))
    np.testing.assert_array_equal(source.read(np.array([5, 0, 3])), everything[[5, 0, 3]])
    np.testing.assert_array_equal(faces.FaceSource(6, 16, 1).read(np.array([4, 5])), everything[4:])
    assert faces.FaceSource(2, 16, 1, grey=True).read(np.arange(2)).shape == (2, 1, 16, 16)
    view = faces.FaceSource(3, 16, 1, view=15.0)
    assert {f.yaw for f in map(view.factors, range(3))} == {15.0}


@pytest.mark.parametrize("kind, count", [("random", 3), ("views", 15), ("expressions", 21)])
def test_a_written_folder_holds_pictures_and_their_labels(tmp_path, kind, count):
    assert faces.write_folder(tmp_path / "out", kind, 3, 16, seed=1) == count
    rows = list(csv.DictReader(open(tmp_path / "out" / "labels.csv", encoding="utf-8")))
    assert len(rows) == count
    row = rows[1]
    stored = cv2.imread(str(tmp_path / "out" / row["file"]))[..., ::-1].transpose(2, 0, 1)
    factors = faces.Factors(**{name: int(row[name]) if name == "identity" else float(row[name]) for name in
                               (*APPEARANCE, *GEOMETRY, "identity")})
    np.testing.assert_array_equal(stored, grey_values(faces.render(factors, 16).image))
    with pytest.raises(UserError, match="not empty"):
        faces.write_folder(tmp_path / "out", kind, 3, 16, seed=1)


def test_paths_of_data_jobs_may_start_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["data", "faces", "~/faces", "--count", "2", "--size", "16", "--sheet=~/sheet.png"]) == 0
    assert main(["data", "pack", "~/faces", "~/set.mindrecord", "--set", "data.size=16"]) == 0
    assert all((tmp_path / name).exists() for name in ("faces", "set.mindrecord", "sheet.png"))
    assert not (tmp_path / "~").exists()
    config = recipe.absolute_paths(recipe.load(None, ["data.path=~/faces", "data.held_out=0"]))
    assert len(open_sources(config.data).train) == 2


def test_chosen_frames_of_clips_are_those_of_the_whole_clips():
    chosen, some = np.array([0, 3]), np.arange(2)
    whole, part = FaceClips(2, 5, 16, 1), FaceClips(2, 5, 16, 1, chosen=chosen)
    np.testing.assert_array_equal(part.read(some), whole.read(some)[:, chosen])
    np.testing.assert_array_equal(part.landmarks(some), whole.landmarks(some)[:, chosen])
    np.testing.assert_array_equal(part.factor_table(some, ("yaw", "mouth_open")),
                                  whole.factor_table(some, ("yaw", "mouth_open"))[:, chosen])
    assert part.identity() != whole.identity()

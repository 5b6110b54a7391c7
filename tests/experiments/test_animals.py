"""A model's geometry on drawn animals and on images of a folder."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from dgn import config as cfg
from dgn.__main__ import main
from dgn.data import animals as drawings
from dgn.data.align import EYES
from dgn.data.open import generated_faces
from dgn.errors import UserError
from dgn.experiments import animals

pytestmark = pytest.mark.slow


def test_the_dimensions_with_the_largest_displacements_are_drawn(run, capsys):
    result = animals.animals(run, gamma=2)
    size = run.model.groups[1].shape[0]
    ends = np.concatenate([2 * np.eye(size, dtype=np.float32), -2 * np.eye(size, dtype=np.float32)])
    fields = run.decode(np.zeros((len(ends), 4), np.float32), ends).displacement
    effects = np.square(fields[:size] - fields[size:]).sum((1, 2, 3))
    assert result["dimensions"] == np.argsort(-effects)[:2].tolist()
    assert result["pictures"] == [run.folder.figures / "animals.png"] and result["pictures"][0].is_file()
    drawn = cv2.imread(str(result["pictures"][0]))
    assert main(["experiment", "animals", str(run.folder.path), "--gamma", "2", "--device", "CPU"]) == 0
    assert capsys.readouterr().out.splitlines() == [animals.summary(result), str(result["pictures"][0])]
    np.testing.assert_array_equal(cv2.imread(str(result["pictures"][0])), drawn)


def test_a_displacement_moves_the_animal(run):
    image = next(iter(animals.animal_faces(run.config.data, None).values()))
    fields = np.zeros((11, 2, *image.shape[1:]), np.float32)
    fields[1, 0], fields[2, 1] = 3, -2  # a pixel shows the point (x + dx, y + dy)
    unmoved, left, down = animals.warp(run.model, image, fields)[:3]
    np.testing.assert_allclose(unmoved, image, atol=1e-6)
    np.testing.assert_allclose(left[:, :, :-3], image[:, :, 3:], atol=1e-6)
    np.testing.assert_allclose(down[:, 2:], image[:, :-2], atol=1e-6)


def test_animals_of_a_folder_and_in_grayscale(run, images):
    data = run.config.data
    shown = animals.animal_faces(data, str(images))
    assert list(shown) == [f"{k:03d}.png" for k in range(animals.SHOWN)]
    first = cv2.imread(str(images / "000.png"))[:, :, ::-1].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(shown["000.png"], first, atol=1e-6)
    colour = animals.animal_faces(data, None)
    grey = animals.animal_faces(cfg.changed(run.config, data={"grey": True}).data, None)
    for name in colour:
        np.testing.assert_allclose(grey[name][0], np.einsum("c,chw", [0.299, 0.587, 0.114], colour[name]), atol=1e-6)


def test_animals_are_cut_by_their_eyes(run, tmp_path):
    """A cat drawn twice as large, turned by 20 degrees and shifted, comes back as it was drawn, but for its borders."""
    data, size = run.config.data, run.config.data.size
    cat = np.rint(255 * drawings.draw(2 * size)["cat"].transpose(1, 2, 0)).astype(np.uint8)
    turn = cv2.getRotationMatrix2D((size, size), 20, 1.0)
    turn[:, 2] += 10
    photo = cv2.warpAffine(cat, turn, (3 * size, 3 * size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    cv2.imwrite(str(tmp_path / "cat.png"), photo[..., ::-1])
    eyes = np.array([[0.35, 0.47], [0.65, 0.47]])
    (left_x, left_y), (right_x, right_y) = (2 * size * eyes - 0.5) @ turn[:, :2].T + turn[:, 2]
    (tmp_path / "labels.csv").write_text("file,left_eye_x,left_eye_y,right_eye_x,right_eye_y\n"
                                         f"cat.png,{left_x},{left_y},{right_x},{right_y}\n")
    expected = drawings.draw(size)["cat"][:, 2:-2, 2:-2]
    found = animals.animal_faces(data, str(tmp_path), eyes=(0.35, 0.47))["cat.png"][:, 2:-2, 2:-2]
    assert np.abs(found - expected).mean() < 0.03 < 0.05 < np.abs(expected - np.roll(expected, 1, 2)).mean()
    marks = generated_faces(data, 50).landmarks(np.arange(50))[:, :2].mean(0)
    x, y = animals.usual_eyes(data)
    np.testing.assert_allclose(np.array([[x, y], [1 - x, y]]) * size - 0.5, marks, atol=0.5)
    assert animals.usual_eyes(replace(data, path="x")) == EYES
    with pytest.raises(UserError, match="none is given"):
        animals.animal_faces(data, None, labels="x.csv")

"""Clips from end to end: training, evaluation, pictures, inference, resumption and the experiments on video."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import cv2
import mindspore as ms
import numpy as np
import pytest
from PIL import Image

import dgn
from dgn import recipe
from dgn.__main__ import main
from dgn.data.face_clips import FaceClips, write_clips
from dgn.data.frames import strip
from dgn.data.source import Source
from dgn.errors import UserError
from dgn.evaluation.evaluate import evaluate
from dgn.evaluation.uncertainty import standard_error_of_mean
from dgn.experiments import recognition, recombination, sampling, shape
from dgn.experiments.clip_common import Probe, clip_indices, label, motion
from dgn.figures.draw import draw, one_of_each_class
from dgn.figures.grids import with_grid
from dgn.figures.sheet import save_sheet
from dgn.page.write import write_page
from dgn.run_training import ensure_trained
from tests.experiments.tiny_clips import FRAMES, SETTINGS, experiment, results, train, write_video
from tests.training.tiny import as_it_was, final_state, resume

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def small():
    """Batches of two clips everywhere: a network is compiled for each size of batch. Fewer clips for probes and
    samples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dgn.nets.model.IMAGES_PER_BATCH", 2 * FRAMES)
        patch.setattr("dgn.experiments.clip_common.PROBED_CLIPS", 60)
        patch.setattr("dgn.experiments.sampling.CLIPS", 4)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> dgn.Run:
    """A run on generated clips: four people, six expressions each."""
    options = ["training.epochs=12", "training.batch_size=4", "training.micro_batches=2",
               "training.learning_rate=0.005", "inference.smoothness=0.01", "inference.scale_by_frames=true"]
    return dgn.train(recipe.load(None, [*SETTINGS, *options]), tmp_path_factory.mktemp("runs") / "run", device="CPU")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> dgn.Run:
    """A run on clips of unequal length, with one appearance for all frames of a clip; trained by the command line."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "videos").mkdir()
    for k, count in enumerate((2, 3, 6, 2, 3, 4)):
        write_video(folder / "videos" / f"clip{k}.avi", count)
    assert train(folder / "run", 2, f"data.path={folder / 'videos'}", "data.format=videos", "data.held_out=2",
                 "data.limit=4", "model.xi_app=0", measured=True) == 0
    return dgn.load(folder / "run", device="CPU")


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dgn.Run:
    """A run of the plain model of clips, MoCoGAN's generator."""
    options = ["model.kind=plain", "training.epochs=2", "training.batch_size=4", "inference.order=simultaneous"]
    return dgn.train(recipe.load(None, [*SETTINGS, *options]), tmp_path_factory.mktemp("runs") / "plain", device="CPU")


@pytest.fixture(scope="module")
def images_run(tmp_path_factory) -> dgn.Run:
    """A run on images, with the optional refining layer."""
    output = tmp_path_factory.mktemp("images") / "run"
    assert train(output, 1, "data.frames=0", "model.refine=true", "training.batch_size=4") == 0
    return dgn.load(output, device="CPU")


@pytest.fixture(scope="module")
def frames_run(images_run, tmp_path_factory) -> dgn.Run:
    """A run on folders of numbered frames, initialized from images_run, whose weights stay as they were initialized."""
    folder = tmp_path_factory.mktemp("frames")
    write_clips(folder / "clips", FaceClips(4, FRAMES, 16, seed=1))
    options = [f"data.path={folder / 'clips'}", "data.format=frames", "data.limit=4", "data.held_out=0",
               "model.refine=true", f"training.init_from={images_run.folder.path}", "training.learning_rate=1e-12",
               "training.epochs=1"]
    return ensure_trained(folder / "run", recipe.load(None, [*SETTINGS, *options]))


@pytest.fixture
def sheets(monkeypatch) -> dict:
    """The rows and labels of the sheets that a test draws, by file name."""
    drawn = {}

    def watched(path, rows, title, labels, *others, **more):
        drawn[path.name] = SimpleNamespace(rows=[np.stack(row) for row in rows], labels=labels)
        return save_sheet(path, rows, title, labels, *others, **more)
    monkeypatch.setattr("dgn.figures.clip_pictures.save_sheet", watched)
    return drawn


def test_evaluation_counts_the_frames_of_clips(run):
    found = evaluate(run)
    everyone, held_out = np.arange(24), run.sources.held_out.read(np.arange(4))

    def msre(clips, latents):
        error = np.square(clips - run.decode(*latents).image).sum((2, 3, 4)).mean()
        return pytest.approx(error, rel=1e-4)
    assert found["train"]["images"] == 24 * FRAMES and found["unseen"]["images"] == 4 * FRAMES
    assert found["train"]["msre"] == msre(run.sources.train.read(everyone), run.bank.read(everyone))
    z = run.infer(held_out)
    assert found["unseen"]["msre"] == msre(held_out, z)
    np.testing.assert_array_equal(run.infer(run.sources.held_out).geometry, z.geometry)
    written = results(run.folder.path)
    assert {name: written[name] for name in found} == found and "exchange" not in found
    record, z = run.folder.read_metrics_log()[-1], run.bank.read(everyone)
    assert (record["z_app_std"], record["z_geo_std"]) == pytest.approx((z[0].std(), z[1].std()), rel=1e-4)


def test_pictures_show_clips_their_reconstructions_and_grids(run, sheets, tmp_path):
    paths = draw(run, tmp_path)
    assert len(paths) == 6 and all(cv2.imread(str(path)) is not None for path in paths)
    drawn = sheets["reconstruction.png"]
    names = [run.sources.train.name(k) for k in range(24)]
    shown = np.array([names.index(name) for name in drawn.labels[::4]])
    decoded = run.decode(*run.bank.read(shown))
    assert len(set(shown)) == 3
    for row, expected in ((0, run.sources.train.read(shown)), (1, decoded.image), (3, decoded.appearance)):
        np.testing.assert_allclose(np.stack(drawn.rows[row::4]), expected, atol=1e-6)
    gridded = sheets["grids.png"]
    assert [name.split("/")[0] for name in gridded.labels] == sorted({name.split("/")[0] for name in names})
    at = np.array([names.index(name) for name in gridded.labels])
    image, _, displacement = run.decode(*run.bank.read(at))
    for row, images, fields in zip(gridded.rows, image, displacement):
        np.testing.assert_allclose(row, [with_grid(*frame) for frame in zip(images, fields)], atol=1e-4)


def test_grids_show_one_clip_of_each_class_and_of_one_person_where_possible():
    names = ["joy/A_1", "fear/B_1", "joy/B_1", "anger/A_9", "anger/B_2", "sad/C_1"]
    assert [names[k] for k in one_of_each_class(names)] == ["anger/B_2", "fear/B_1", "joy/B_1", "sad/C_1"]
    assert one_of_each_class([*names, "clip.avi"]) == []


def test_training_lowers_the_error_and_a_resumed_run_is_the_run_that_was_never_stopped(run, tmp_path):
    whole = final_state(run.folder.path)
    assert 0 < whole["records"][-1]["msre"] < 0.8 * whole["records"][0]["msre"]
    again = as_it_was(run.folder.path, tmp_path / "again", 10)
    assert resume(again) == 0 and final_state(again) == whole


def test_clips_are_initialized_with_the_generators_of_images(images_run, frames_run):
    images, weights = (ms.load_checkpoint(str(run.checkpoint / "weights.ckpt")) for run in (images_run, frames_run))
    of_clips = {name.replace("emission.", ""): values for name, values in weights.items()}
    assert set(images) < set(of_clips) and "refine.weight" in images
    for name, values in images.items():
        np.testing.assert_allclose(of_clips[name].asnumpy(), values.asnumpy(), atol=1e-9)


def test_a_run_whose_data_have_changed_is_refused(frames_run, capsys):
    path, config = frames_run.folder.path, frames_run.config
    missing = next((path.parent / "clips").glob("*/P000_0001/0002.png"))
    content = missing.read_bytes()
    missing.unlink()
    try:
        assert experiment("shape", path) == 2
        assert f"was trained on other images than {config.data.path} holds now" in capsys.readouterr().err
        with pytest.raises(UserError, match="was trained on other images"):
            ensure_trained(path, config).sources  # noqa: B018
    finally:
        missing.write_bytes(content)
    assert len(ensure_trained(path, config).sources.train) == 4


def test_clips_of_unequal_length_are_inferred_as_strips(videos, tmp_path, monkeypatch, capsys):
    assert results(videos.folder.path)["train"]["images"] == 2 + 3 + 3 + 2
    monkeypatch.setattr("dgn.run.load", lambda path, device, data=None: videos)
    line = ["--images", videos.config.data.path, "--steps", "4", "--output", str(tmp_path / "out")]
    assert main(["infer", str(videos.folder.path), *line]) == 0
    assert "6 clips, 4 steps: MSRE" in capsys.readouterr().out
    with np.load(tmp_path / "out" / "latents.npz", allow_pickle=False) as found:
        names, z = list(found["names"]), [found["z_app"], found["z_geo"]]
        assert list(found["frames"]) == [2, 3, 3, 2, 3, 3]
    assert names == [f"clip{k}.avi" for k in range(6)] and z[1].shape == (6, 3 + (FRAMES - 1) * 2)
    decoded = videos.decode(*z)
    for k, length in enumerate((2, 3, 3, 2, 3, 3)):
        written = cv2.imread(str(tmp_path / "out" / "reconstruction" / f"clip{k}.avi.png"))[..., ::-1]
        expected = 255 * strip(decoded.image[k][:length]).transpose(1, 2, 0)
        np.testing.assert_allclose(written, expected, atol=0.51)
        displacement = np.load(tmp_path / "out" / "displacement" / f"clip{k}.avi.npy", allow_pickle=False)
        np.testing.assert_allclose(displacement, decoded.displacement[k][:length], atol=1e-5)
        assert Image.open(tmp_path / "out" / "animation" / f"clip{k}.avi.gif").n_frames == length


def test_clips_from_python(videos, images_run):
    path = videos.config.data.path
    assert dgn.images(path, like=videos, format="videos").shape[0] == FRAMES
    with pytest.raises(dgn.UserError, match=r"data.format is images; for clips .* dgn.images\(..., format=...\)"):
        dgn.images(path, like=videos, format="images")
    with pytest.raises(dgn.UserError, match="format videos is for runs on clips"):
        dgn.images(path, like=images_run, format="videos")
    assert videos.sample(1, frames=2).image.shape[1] == 2
    for frames in (0, -1, 2.5):
        with pytest.raises(dgn.UserError, match=f"frames is {frames}; it must be an integer"):
            videos.sample(1, frames=frames)


def test_experiments_by_the_command_line(videos, sheets, monkeypatch, capsys):
    """On clips without labels and known factors: pictures alone."""
    path = videos.folder.path
    monkeypatch.setattr("dgn.run.load", lambda path, device, data=None: videos)
    assert experiment("recombination", path, "--clips", 2, 0) == 0
    assert experiment("shape", path, "--clips", 1, 0, "--dimension", 2, "--amount", 0.5) == 0
    assert experiment("sampling", path, "--frames", 7, "--count", 2, "--seed", 3, "--prior") == 0
    out = capsys.readouterr().out
    assert "motion that reconstructions show: all " in out and "dimension 2 of Z_0^g by +-0.5" in out
    assert [len(row) for row in sheets["shape.png"].rows] == [3, 3, 3, 2, 2, 2]  # frames of each clip
    assert all(str(path / "figures" / f"{name}.gif") in out for name in ("recombination", "shape", "samples"))
    assert sheets["recombination.png"].labels[:2] == ["clip2.avi", "clip0.avi"]
    assert [len(row) for row in sheets["recombination.png"].rows] == [2] * 4  # frames of the shorter clip
    np.testing.assert_allclose(sheets["samples.png"].rows, videos.sample(4, 3, "prior", 7).image[:2])
    real, mask = videos.sources.train.read(np.arange(4)), videos.sources.train.mask(np.arange(4))
    still = results(path)["sampling"]["change_of_training_clips"]  # of the frames that the clips have
    change = np.abs(np.diff(real, axis=1)).mean((2, 3, 4))
    assert still == pytest.approx(change[mask[:, 1:] > 0].mean(), rel=1e-4)
    written = results(path)
    assert "shape" not in written and "correlations" not in written["recombination"]
    assert experiment("recognition", path) == 2 and "is not named class/person_" in capsys.readouterr().err


def test_options_of_recognition(videos, monkeypatch, capsys):
    monkeypatch.setattr("dgn.run.load", lambda path, device, data=None: videos)
    monkeypatch.setattr(recognition, "recognition", lambda run, **options: {**options, "pictures": ["x.png"]})
    monkeypatch.setattr(recognition, "summary", lambda result: str(sorted(result.items())))
    options = ["--folds", 3, "--epochs", 2, "--absolute-features", "--steps", 7, "--descent-steps", 4]
    assert experiment("recognition", videos.folder.path, *options) == 0
    called = [("descent_steps", 4), ("epochs", 2), ("folds", 3), ("from_first", False), ("pictures", ["x.png"]),
              ("steps", 7)]
    assert capsys.readouterr().out == f"{called}\nx.png\n"


def test_recombination(run, sheets):
    result = recombination.recombination(run, clips=(2, 9))
    z_app, z_geo = run.bank.read(np.array([2, 9]))
    rows, labels = sheets["recombination.png"].rows, sheets["recombination.png"].labels
    # the third row has the second clip's geometry
    np.testing.assert_allclose(np.stack(rows[2:]), run.decode(z_app, z_geo[::-1]).image, atol=1e-5)
    assert labels[2].startswith("appearance of 1")
    np.testing.assert_array_equal(rows[1], run.sources.train.read(np.array([9]))[0])
    everyone = np.arange(24)
    clips, rebuilt = run.sources.train.read(everyone), run.decode(*run.bank.read(everyone)).image
    true, shown = clips - clips.mean(1, keepdims=True), rebuilt - rebuilt.mean(1, keepdims=True)
    fear = [run.sources.train.name(k).startswith("fear/") for k in everyone]
    expected = 1 - np.square(true - shown)[fear].sum() / np.square(true)[fear].sum()
    assert result["explained_motion"]["fear"] == pytest.approx(expected, abs=1e-4)
    written, text = results(run.folder.path), recombination.summary(result)
    assert written["recombination"] == {name: value for name, value in result.items() if name != "pictures"}
    assert written["recombination"]["versions"] and f"fear {expected:.2f}" in text
    assert f"{result['correlations']['landmark motion']['geometry_donor']:+.2f}" in text
    sheet, gif, mp4 = result["pictures"]
    assert cv2.imread(str(sheet)) is not None and Image.open(gif).n_frames == FRAMES
    assert cv2.VideoCapture(str(mp4)).get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    with pytest.raises(UserError, match="no clip 24: the run has the clips 0 to 23"):
        recombination.recombination(run, clips=(0, 24))
    with pytest.raises(UserError, match=f"no clip walk: .*, or by name, such as {run.sources.train.name(0)[:4]}"):
        recombination.recombination(run, clips=(0, "walk"))
    assert list(clip_indices(["001", "002", "walk"], ["001", "walk", "2", 0])) == [0, 2, 2, 0]
    with pytest.raises(UserError, match="two are exchanged"):
        recombination.recombination(run, clips=(0,))


def test_shape(run, sheets, monkeypatch):
    """Measured by a probe that reads ten pixels of a frame."""
    def read(frames):
        return frames[..., 0, 4:6, 4:9].reshape(*frames.shape[:-3], 10)
    monkeypatch.setattr(shape, "fit_probe", lambda data: Probe(None, read))
    result = shape.shape(run, clips=(3, 8), dimension=1, amount=2.0)

    def edited(clips, change):
        z_app, z_geo = run.bank.read(clips)
        z_geo[:, 1] += change
        return run.decode(z_app, z_geo).image
    before, down, up = (read(edited(np.arange(24), change)) for change in (0, -2, 2))
    moved = np.mean([np.abs((after - before).mean(1)).mean() for after in (down, up)])
    kept = np.mean([np.corrcoef(motion(after).ravel(), motion(before).ravel())[0, 1] for after in (down, up)])
    assert result["landmarks_moved"] == pytest.approx(moved, rel=1e-4) and moved > 0
    assert result["motion_kept"] == pytest.approx(kept, abs=1e-4)
    assert results(run.folder.path)["shape"] == {name: result[name] for name in result if name != "pictures"}
    shown, name = sheets["shape.png"], run.sources.train.name
    edits = ["Z_0^g 1 -2", "as inferred", "Z_0^g 1 +2"]
    assert shown.labels == [f"{name(k)}\n{edit}" for k in (3, 8) for edit in edits]
    for row, (clip, change) in zip(shown.rows, ((clip, change) for clip in (3, 8) for change in (-2, 0, 2))):
        np.testing.assert_allclose(row, edited(np.array([clip]), change)[0], atol=1e-5)
    assert f"landmarks move by {moved:.2f} pixels" in shape.summary(result)
    with pytest.raises(UserError, match="dimensions 0 to 2"):
        shape.shape(run, dimension=3)


def test_the_dimension_that_changes_the_first_frame_most_is_edited(run, sheets, monkeypatch):
    monkeypatch.setattr(shape, "measure", lambda run, dimension, amount: {"motion_kept": 1.0, "landmarks_moved": 0.0})
    z_app = run.bank.read(np.array([5]))[0][:, :4].repeat(6, 0)
    ends = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)
    first = run.decode(z_app, ends).image[:, 0]
    strongest = np.square(first[:3] - first[3:]).sum((1, 2, 3)).argmax()
    assert shape.shape(run, clips=[run.sources.train.name(5)], amount=1.0)["dimension"] == strongest
    shape.shape(run)
    one, other = (sheets["shape.png"].labels[k].split("\n")[0] for k in (0, 3))
    assert one == run.sources.train.name(0) and all(a != b for a, b in zip(label(one), label(other)))


def test_sampling_beyond_the_trained_length(run, sheets):
    result = sampling.sampling(run, frames=8, count=2)  # shown; four are measured
    clips, measured = np.stack(sheets["samples.png"].rows), run.sample(4, 1, "fitted", 8).image
    np.testing.assert_allclose(clips, measured[:2], atol=1e-5)
    changes = np.abs(np.diff(measured, axis=1)).mean((2, 3, 4))
    assert clips.shape == (2, 8, 3, 16, 16) and result["frames"] == 8
    for where, part in (("within", changes[:, :FRAMES - 1]), ("beyond", changes[:, FRAMES - 1:])):
        assert result["fitted"][f"change_{where}"] == pytest.approx(part.mean(), rel=1e-4)
        error = standard_error_of_mean(part.mean(1))
        assert result["fitted"][f"change_{where}_stderr"] == pytest.approx(error, rel=1e-3)
    prior = sampling.changes(run.sample(4, 1, "prior", 8).image, FRAMES)
    assert result["prior"] == pytest.approx(prior) and prior != result["fitted"]
    real = run.sources.train.read(np.arange(4))
    assert result["change_of_training_clips"] == pytest.approx(np.abs(np.diff(real, axis=1)).mean(), rel=1e-4)
    written = results(run.folder.path)["sampling"]
    assert written == {name: result[name] for name in result if name != "pictures"}
    assert Image.open(result["pictures"][1]).n_frames == 8
    assert f"beyond it {written['fitted']['change_beyond']:.4f} +- " in sampling.summary(result)
    sampling.sampling(run, frames=8, count=2, seed=2)
    assert np.abs(np.stack(sheets["samples.png"].rows) - clips).max() > 0
    with pytest.raises(UserError, match="at least 2"):
        sampling.sampling(run, frames=1)


def test_recognition(run, monkeypatch):
    result = recognition.recognition(run, folds=2, epochs=2, descent_steps=4)
    assert (result["people"], result["clips"], result["folds"], result["absolute_features"]) == (4, 24, 2, False)
    text, constant = recognition.summary(result), np.tile(np.arange(6) == 0, 4)
    people = [label(run.sources.train.name(k))[1] for k in range(24)]
    error = standard_error_of_mean(constant, people)
    assert result["most_frequent"]["accuracy_stderr"] == pytest.approx(error, abs=1e-6)
    for name in ("Dglf", "Ddf", "appearance", "pixels"):
        confusion = np.array(result[name]["confusion"])
        assert (confusion.sum(1) == 4).all() and result[name]["accuracy"] == pytest.approx(np.trace(confusion) / 24)
        assert f"{100 * result[name]['accuracy']:.1f} +- {100 * result[name]['accuracy_stderr']:.1f} %" in text
    assert result["most_frequent"]["accuracy"] == pytest.approx(1 / 6)
    assert results(run.folder.path)["recognition"] == {name: result[name] for name in result if name != "pictures"}
    assert all(cv2.imread(str(path)) is not None for path in result["pictures"])
    with pytest.raises(UserError, match="as many people as folds"):
        recognition.recognition(run)
    # people of a file of identities take precedence over those of the names
    monkeypatch.setattr(type(run.sources.train), "people", lambda self: ["x"] * 12 + ["y"] * 12)
    with pytest.raises(UserError, match="6 classes and 2 people cannot be cross-validated in 3 folds"):
        recognition.recognition(run, folds=3)


def test_an_appearance_that_does_not_change_is_recognised_by_itself(videos, rng):
    z = [rng.standard_normal((2, *group.shape)).astype(np.float32) for group in videos.model.groups]
    clips = np.zeros((2, FRAMES, 3, 16, 16), np.float32)
    run = SimpleNamespace(model=videos.model, sources=SimpleNamespace(train=Clips(clips)),
                          training_latents=lambda descent_steps: z,
                          infer=lambda source, steps, descent_steps: [(steps == 7) * v for v in z])
    found = recognition.features(run)
    for name, values in recognition.features(run, 7).items():  # inferred anew by so many steps
        np.testing.assert_array_equal(values, found[name])
    np.testing.assert_allclose(found["Ddf"], videos.decode(*z).displacement, atol=1e-6)
    np.testing.assert_array_equal(found["appearance"], np.stack([0 * z[0], *(FRAMES - 1) * [z[0]]], 1))
    states = videos.model.branches[1].latents(ms.Tensor(z[1])).asnumpy()
    np.testing.assert_array_equal(found["Dglf"], states)
    np.testing.assert_array_equal(found["pixels"], clips)


class Clips(Source):
    """A source of an array."""

    def __init__(self, clips):
        self.clips = clips

    def __len__(self):
        return len(self.clips)

    def read(self, indices):
        return self.clips[indices]


def test_latents_of_no_clip_are_a_user_error(run):
    z_app, z_geo = run.bank.read(np.arange(1))
    for latents in ((z_app, z_geo[:, :-1]), (z_app, z_geo[:, :3]), (z_app[:, :-1], z_geo)):
        with pytest.raises(UserError, match=f"this model has z_app .* for clips of {FRAMES} frames"):
            run.decode(*latents)
    clip = run.sources.train[:1]
    for frames in (1, FRAMES - 1):
        with pytest.raises(UserError, match=rf"they must be an array \(N, {FRAMES}, "):
            run.infer(clip[:, :frames])


def test_a_plain_model_has_content_and_motion_and_no_geometry(plain, sheets):
    assert plain.folder.read_metrics_log()[-1]["msre"] < plain.folder.read_metrics_log()[0]["msre"]
    names = [path.name for path in draw(plain)]
    assert names == ["reconstruction.png", "latent_bases.png", "curves.png"]
    drawn = sheets["reconstruction.png"]
    assert drawn.labels[1::2] == 3 * ["reconstruction"] and len(drawn.rows) == 6
    shown = np.array([plain.sources.train.name(k) for k in range(24)])[:, None] == drawn.labels[::2]
    decoded = plain.decode(*plain.bank.read(shown.argmax(0))).image
    np.testing.assert_allclose(np.stack(drawn.rows[1::2]), decoded, atol=1e-6)
    values = recognition.features(plain, descent_steps=2)
    assert {name: own.shape[2:] for name, own in values.items()} == {
        "motion": (3,), "content": (4,), "pixels": (3, 16, 16)}
    content, motion = plain.training_latents(2)
    np.testing.assert_allclose(values["content"][:, -1], content, atol=1e-6)
    np.testing.assert_array_equal(values["content"][:, 0], 0)
    assert "motion latents" in recognition.summary(recognition.recognition(plain, folds=2, epochs=1, descent_steps=2))
    assert plain.sample(2, frames=6).image.shape == (2, 6, 3, 16, 16)
    exchanged = recombination.recombination(plain, clips=(0, 7))
    assert exchanged["correlations"]["landmark motion"].keys() >= {"geometry_donor", "appearance_donor"}
    for call in (shape.shape, write_page):
        with pytest.raises(UserError, match="is a run of a plain model"):
            call(plain)


@pytest.mark.parametrize("settings, message", [
    (["training.method=vae"], "data.frames needs training.method abp; it is vae"),
    (["data.frames=0", "data.format=videos"], "data.frames must be their number of frames"),
    (["data.size=40"], "need multiples of 16"),
    (["training.micro_batches=3"], "training.micro_batches is 3; it must divide"),
    (["inference.steps=4", "inference.steps_per_graph=3"], "inference.steps_per_graph is 3; it must divide"),
    (["data.path=/tmp"], "must hold clips")])
def test_settings_that_do_not_go_together_are_refused(tmp_path, settings, message, capsys):
    assert train(tmp_path / "run", 1, *settings) == 2
    assert message in capsys.readouterr().err


def test_a_run_on_images_is_refused(images_run, capsys):
    for function in (recombination.recombination, shape.shape, functools.partial(sampling.sampling, frames=3),
                     recognition.recognition):
        with pytest.raises(UserError, match="is a run on images"):
            function(images_run)
    assert experiment("shape", images_run.folder.path) == 2 and "is a run on images" in capsys.readouterr().err


def test_initial_weights_that_do_not_exist_leave_no_run_folder(tmp_path, capsys):
    assert train(tmp_path / "run", 1, f"training.init_from={tmp_path / 'nothing'}") == 2
    assert "holds no run" in capsys.readouterr().err and not (tmp_path / "run").exists()

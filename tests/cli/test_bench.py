"""`dgn bench` and its library, on models small enough for a test."""

from __future__ import annotations

import json

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from dgn import recipe
from dgn.__main__ import main
from dgn.bench import graphs, measures, processes
from dgn.nets.build import make_model

pytestmark = pytest.mark.slow

TINY = ["data.size=16", "model.width=8", "model.z_app=4", "model.z_geo=3"]


@pytest.fixture(autouse=True)
def small_product(monkeypatch):
    monkeypatch.setattr("dgn.bench.parts.MATRIX", 64)


def bench(*words, settings=()) -> int:
    return main(["bench", *map(str, words), *(word for setting in [*TINY, *settings] for word in ("--set", setting))])


def test_parts_have_times_ratios_and_share(tmp_path, capsys):
    """Of a recipe with a critic, so that every part of an image model is there."""
    adversarial = ["training.adversarial=nonsaturating", "training.critic_width=2", "training.micro_batches=2"]
    line = ("parts", "--batch", 2, "--steps", 1, "--rounds", 2, "--json", tmp_path / "t.json")
    assert bench(*line, settings=adversarial) == 0
    printed = capsys.readouterr().out
    for part in ("image-steps a second", "warp grid_sample / native", "GFLOP/s", "training step", "sampler, 1 steps",
                 "critic step with R1, stock", "ratio  critic step, stock / native", "actor step"):
        assert part in printed
    stored = json.loads((tmp_path / "t.json").read_text())
    assert stored["batch"] == 2 and stored["device"] == "CPU" and set(stored["versions"]) >= {"mindspore", "processor"}
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in stored["seconds"].values())


@pytest.fixture
def parts_of_clips_alone(monkeypatch):
    """Without what bench parts measures of images alike: the warps, and MindSpore's convolutions against others."""
    monkeypatch.setattr("dgn.bench.parts.NativeConv", type(None))
    monkeypatch.setattr("dgn.bench.parts.NativeWarp", type(None))
    monkeypatch.setattr("dgn.bench.calls.warps", lambda *_: {})


def test_parts_of_clips(parts_of_clips_alone, capsys, monkeypatch):
    monkeypatch.setattr("dgn.bench.calls.generators", lambda *_: {})  # of clips: test_parts_of_clips_with_two_critics
    settings = ["data.frames=2", "model.network=table5", "model.alpha=2"]
    assert bench("parts", "--batch", 1, "--steps", 1, "--rounds", 1, settings=settings) == 0
    printed = capsys.readouterr().out
    assert "batch 1 clips of 2 frames" in printed and "% of a Langevin step; peak memory" in printed
    assert "training step" in printed


def test_parts_of_clips_with_two_critics(parts_of_clips_alone, capsys):
    """Of a plain model; one of the critics is of single frames."""
    settings = ["data.frames=2", "model.kind=plain", "training.adversarial=minimax", "training.critic_width=2",
                "training.r1_weight=0"]
    assert bench("parts", "--batch", 1, "--steps", 1, "--rounds", 1, settings=settings) == 0
    printed = capsys.readouterr().out
    assert "batch 1 clips of 2 frames" in printed and "% of a Langevin step; peak memory" in printed
    assert "critic step, stock" in printed and "forward and to the latents" in printed


def test_the_tools_and_their_arguments(capsys):
    for line, message in (([], "processes"), (["parts"], "--against"), (["processes"], "count"),
                          (["storage"], "samples"), (["program"], "FILE")):
        with pytest.raises(SystemExit) as stopped:
            main(["bench", *line, "--help"])
        assert stopped.value.code == 0 and message in capsys.readouterr().out
    for line in (["sampler"], ["storage"], ["parts", "--rounds", "0"], ["--samples", "3"]):
        with pytest.raises(SystemExit) as stopped:
            main(["bench", *line])
        assert stopped.value.code == 2 and "usage: dgn" in capsys.readouterr().err


class TwoSteps(nn.Cell):
    """Two products and a tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.matmul, self.weight = ops.MatMul(), ms.Parameter(ms.Tensor(np.eye(3, dtype=np.float32)), "weight")

    def construct(self, x):
        return ops.tanh(self.matmul(self.matmul(x, self.weight), self.weight))


def test_operators_of_a_graph():
    size = graphs.compiled_size(TwoSteps(), (ms.Tensor(np.ones((2, 3), np.float32)),))
    assert size.operators == {"MatMul": 2, "Tanh": 1} and size.total == 3 and size.seconds > 0


@pytest.mark.parametrize("settings, names", [
    ((), {"decoder", "sampler, 1 steps", "training step"}),
    (("training.method=vae", "training.micro_batches=2"),
     {"decoder", "sampler, 1 steps", "training step, accumulation", "training step, update"}),
    (("training.adversarial=minimax", "training.r1_interval=2", "training.critic_width=2"),
     {"decoder", "sampler, 1 steps", "actor step", "critic step with R1", "critic step"})])
def test_graphs_of_every_method_are_listed(settings, names):
    config = recipe.load(None, [*TINY, "inference.steps=1", *settings])
    assert {name for name, _ in graphs.training_graphs(config, 2)} == names


def test_graphs_grow_with_the_steps(tmp_path, capsys, monkeypatch):
    counts, every_graph = [], graphs.training_graphs
    for steps in (1, 2):
        line = ("parts", "--graphs", "--batch", 2, "--json", tmp_path / "g.json")
        assert bench(*line, settings=[f"inference.steps={steps}", "model.warp=grid_sample", "model.deconv=stock"]) == 0
        assert f"sampler, {steps} steps" in capsys.readouterr().out
        stored = json.loads((tmp_path / "g.json").read_text())["recipes"]["default"]
        counts.append(sum(stored[f"sampler, {steps} steps"]["operators"].values()))
        if steps == 1:
            assert stored["training step"]["operators"]["Adam"] > 0
            assert stored["decoder"]["operators"]["GridSampler2D"] == 1
        monkeypatch.setattr(graphs, "training_graphs", lambda config, batch: (
            (name, graph) for name, graph in every_graph(config, batch) if name.startswith("sampler")))
    assert counts[0] < counts[1] < 2 * counts[0]


def test_graphs_of_a_folder_of_recipes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(graphs, "training_graphs", lambda config, batch: [(f"graph of {config.data.size}", ())])
    monkeypatch.setattr(graphs, "compiled_size", lambda: graphs.Size({"Add": 2}, 0.5))
    for size in (16, 32):
        (tmp_path / f"of_{size}.yaml").write_text(f"data: {{size: {size}}}")
    assert main(["bench", "parts", "--graphs", "--config", str(tmp_path), "--json", str(tmp_path / "g.json")]) == 0
    assert capsys.readouterr().out.split()[:1] == ["of_16"]
    assert json.loads((tmp_path / "g.json").read_text())["recipes"] == {
        f"of_{size}": {f"graph of {size}": {"operators": {"Add": 2}, "seconds": 0.5}} for size in (16, 32)}
    (tmp_path / "empty").mkdir()
    assert main(["bench", "parts", "--graphs", "--config", str(tmp_path / "empty")]) == 2


def test_processes(capsys):
    small = ["--steps", "1", "--rounds", "2", "--set", "data.size=16", "--set", "model.width=8"]
    result = processes.launch(2, ["--batch", "4", *small])
    model = make_model(recipe.load(None, ["data.size=16", "model.width=8"]))
    assert result["parameters"] == sum(int(np.prod(parameter.shape)) for parameter in model.trainable_params())
    assert result["processes"] == 2 and len(result["seconds"]) == 2
    assert min(result["exchange"]) > 0 and result["memory"] > 100
    text = processes.summary({1: [{**result, "seconds": [2.0, 1.0]}], 2: [{**result, "seconds": [0.5, 0.9]}]})
    assert "images a second: 2.00" in text and f"gradients of {result['parameters']:,} weights" in text
    assert bench("processes", 3, "--batch", 4) == 2 and "multiple of the number of processes" in capsys.readouterr().err


def test_storage(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "storage", "20000"]) == 0
    printed = capsys.readouterr().out
    for part in ("chains of 20,000 samples, 0.01 GB", "checkpoint: digests", "a batch of 100 read and written"):
        assert part in printed
    assert not list(tmp_path.iterdir())


def test_candidates_take_turns():
    order = []
    seconds = measures.measure({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3, warm_up=1)
    assert order == list("ab" * 4) and {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}
    assert measures.ratio({"a": [4.0, 2.0, 9.0], "b": [2.0, 2.0, 3.0]}, "a", "b") == 2.0


@pytest.mark.parametrize("setting, message", [("model.kind=plain", "model.kind must be 'deformable'"),
                                              ("data.frames=2", "data.frames must be 0")])
def test_pytorch_programs_of_another_model_are_refused(setting, message, capsys):
    assert bench("parts", "--against", "torch", "--batch", 1, "--rounds", 1, settings=[setting]) == 2
    assert message in capsys.readouterr().err

"""The command line of the experiments on video (5.6)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Dict

from dgn.cli import above_zero, add_data, add_prior, natural, positive, user_path
from dgn.cli.experiment_types import Experiment, report


def _add_run(parser: ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", type=user_path, help="output folder of a training on clips")
    add_data(parser)


RECOMBINATION = """Appearance and geometry of two clips exchanged (5.6, Fig. 15 and 16).

  dgn experiment recombination runs/clips
  dgn experiment recombination runs/clips --clips 0 7

Two training clips are decoded with each other's geometry: one person's colours with the other's shape and motion. For
generated clips the exchange is also measured: each of up to 200 clips takes the geometry of a clip of another person
and expression; probes, fitted on clips of unseen people, read landmarks and factors off the decoded frames, which are
correlated with those of both donors. For all clips: the share of the motion that reconstructions show, by class. Of a
plain model (MoCoGAN's generator) content and motion are exchanged.
Written to the run folder: sections "recombination" and "explained_motion" of metrics.json, figures/recombination.png,
.gif, .mp4.
"""


def _recombination_arguments(parser: ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument("--clips", type=natural, nargs=2, metavar=("A", "B"),
                        help="indices of the two clips (default: the first, and one of another person and class)")


def _recombination(args: Namespace) -> None:
    from dgn.experiments.recombination import recombination, summary
    from dgn.run import load

    result = recombination(load(args.run_folder, args.device, args.data), clips=args.clips)
    report(summary(result), result)


SHAPE = """The global shape of clips edited by Z_0^g, their dynamics kept (5.6, Fig. 18).

  dgn experiment shape runs/clips
  dgn experiment shape runs/clips --clips 0 7

Z_0^g of training clips is changed along the dimension with the largest effect on the first frame; appearance and xi^g
stay. For generated clips the edit is also measured: landmark motion of edited clips, read by a probe, against that of
the clips before the edit. For deformable models. Written to the run folder: section "shape" of metrics.json,
figures/shape.png and .gif.
"""


def _shape_arguments(parser: ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument("--clips", type=natural, nargs="+", metavar="CLIP",
                        help="indices of training clips (default: the first, and one of another person and class)")
    parser.add_argument("--dimension", type=natural, help="of Z_0^g (default: the one with the largest effect)")
    parser.add_argument("--amount", type=above_zero, default=1.5, help="change, both ways (default %(default)s)")


def _shape(args: Namespace) -> None:
    from dgn.experiments.shape import shape, summary
    from dgn.run import load

    run = load(args.run_folder, args.device, args.data)
    result = shape(run, clips=args.clips, dimension=args.dimension, amount=args.amount)
    report(summary(result), result)


SAMPLING = """New images, or new clips longer than the training clips (4, Eq. 10 to 12).

  dgn experiment sampling runs/faces_demo
  dgn experiment sampling runs/clips --frames 48

Latents are drawn from a Gaussian fitted to those of the training samples; of clips Z_0 from a Gaussian and xi from a
first-order autoregression (beyond the paper; fitted_prior.npz in the run folder). --prior draws the picture's samples
from the prior, as the paper does. Measured for both: of images the Frechet distance to training images; of clips the
mean change from frame to frame within the trained length and beyond it, beside that of training clips. Written to the
run folder: section "sampling" of metrics.json, figures/samples.png, of clips also .gif.
"""


def _sampling_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", type=user_path, help="output folder of a training")
    add_data(parser)
    parser.add_argument("--frames", type=positive, help="of the new clips (default: three times those trained on)")
    parser.add_argument("--count", type=positive, help="in the picture (default: 6 clips, 33 images)")
    add_prior(parser)
    parser.add_argument("--seed", type=natural, default=1, help="of the latents (default %(default)s)")


def _sampling(args: Namespace) -> None:
    from dgn.experiments.sampling import sampling, summary
    from dgn.run import load

    result = sampling(load(args.run_folder, args.device, args.data), frames=args.frames, count=args.count,
                      seed=args.seed, prior=args.prior)
    report(summary(result), result)


RECOGNITION = """Expressions recognised from what a video model infers (5.6, Table 3).

  dgn experiment recognition runs/clips
  dgn experiment recognition runs/ckplus --as-they-are

The run's own clips have the latents of their chains after steps without noise, which lead to a mode; with --steps they
are inferred anew, from the prior's mean. Features over time go to a one-layer LSTM, a dense layer of 30 and a softmax,
in person-independent cross-validation: Dglf, the geometric latents Z_t^g; Ddf, the displacement fields; and two
controls, the appearance latents Z_t^a and the raw pixels. Of a plain model (MoCoGAN's generator): its motion h_t, its
content and the pixels. The network gets the difference of each frame from the clip's first, along the 50 principal axes
of its training clips. Classes and people come from the clips' names, class/person_...: generated clips have such names,
and the CK+ set has. Written to the run folder: section "recognition" of metrics.json, figures/recognition.png.
"""


def _recognition_arguments(parser: ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument("--folds", type=positive, default=10, help="of the cross-validation (default %(default)s)")
    parser.add_argument("--epochs", type=positive, default=60, help="of the recogniser (default %(default)s)")
    parser.add_argument("--as-they-are", action="store_true",
                        help="features of every frame, not their difference from the first frame: for clips that do "
                        "not begin with a neutral face")
    parser.add_argument("--steps", type=positive,
                        help="infer anew by so many Langevin steps (default: continue the chains of the training)")
    parser.add_argument("--descent-steps", type=positive, default=100,
                        help="steps without noise thereafter (default %(default)s)")


def _recognition(args: Namespace) -> None:
    from dgn.experiments.recognition import recognition, summary
    from dgn.run import load

    run = load(args.run_folder, args.device, args.data)
    result = recognition(run, folds=args.folds, epochs=args.epochs,
                         from_first=not args.as_they_are, steps=args.steps, descent_steps=args.descent_steps)
    report(summary(result), result)


EXPERIMENTS: Dict[str, Experiment] = {
    "recombination": Experiment("appearance and geometry of two clips exchanged (5.6, Fig. 15 and 16)", RECOMBINATION,
                                _recombination_arguments, _recombination),
    "shape": Experiment("the shape of a clip edited, its dynamics kept (5.6, Fig. 18)", SHAPE, _shape_arguments,
                        _shape),
    "sampling": Experiment("new images, or new clips longer than those trained on (4)", SAMPLING,
                           _sampling_arguments, _sampling),
    "recognition": Experiment("expressions recognised from latents and displacement fields of clips (5.6, Table 3)",
                              RECOGNITION, _recognition_arguments, _recognition),
}

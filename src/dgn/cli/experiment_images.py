"""The experiments on images: options of each, and the call of dgn.experiments."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Dict

from dgn import recipe
from dgn.cli import above_zero, add_data, crop, pair, positive, user_path
from dgn.cli.experiment_types import Experiment, report
from dgn.config import Config


def _run_option(parser: ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", type=user_path,
                        help="output folder of a training of the deformable model")


def _recipe_options(parser: ArgumentParser, output: str) -> None:
    """--config, --set and --output of an experiment that trains."""
    parser.add_argument("--config", metavar="YAML", type=user_path, required=True, help="recipe of the trainings")
    parser.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], dest="settings",
                        help="change one value of it; may be repeated")
    parser.add_argument("--output", metavar="DIR", type=user_path, default=output, help="(default %(default)s)")


def _target_options(parser: ArgumentParser, count: int, epochs: int) -> None:
    """The images of the two trainings of an experiment that fine-tunes."""
    parser.add_argument("--data", metavar="PATH", type=user_path, help="images of the first training (data.path)")
    parser.add_argument("--target", metavar="FOLDER", type=user_path, help="images of the fine-tuning")
    parser.add_argument("--frontal", metavar="PATTERN", help="which files of --target, such as '*-1[12].jpg'")
    parser.add_argument("--target-crop", type=crop, metavar="L,T,R,B", help="crop of the images of --target")
    parser.add_argument("--tune-faces", type=positive, default=count,
                        help="images of the fine-tuning, at most (default %(default)s)")
    parser.add_argument("--tune-epochs", type=positive, default=epochs,
                        help="epochs of the fine-tuning (default %(default)s)")


def _config(args: Namespace) -> Config:
    """The recipe with --set and, of an experiment that has it, --data."""
    config, path = recipe.load(args.config, args.settings), getattr(args, "data", None)
    return recipe.with_overrides(config, {"data.path": path}) if path else config


def _target(args: Namespace, held_out: int = 0):
    from dgn.experiments.models import Target

    return Target(args.target, args.frontal, args.target_crop, args.tune_faces, args.tune_epochs, held_out)


BASELINES = """Compare the deformable model with ABP and VAE of the same size, with itself trained as a VAE (Table 1),
and with a Deforming Autoencoder (Table 2).

  dgn experiment baselines --config config/faces.yaml --output runs/baselines

Five models are trained on generated faces by one recipe and measured in the same way: reconstruction of training and
unseen faces; with the known factors linear regression from each block of latents, DCI, MIG and SAP; and the error of
the displacement against the true motion. The plain models have no blocks of latents: their dimensions are assigned to
blocks, and along "oracle axes" an oracle chooses the best split by the factors. Written to --output: metrics.json,
figures/disentanglement.png, and a run folder for each model.
"""


def _baselines_options(parser: ArgumentParser) -> None:
    _recipe_options(parser, "runs/baselines")
    parser.add_argument("--faces", type=positive, default=1000,
                        help="unseen faces whose latents are measured (default %(default)s)")


def _baselines(args: Namespace) -> None:
    from dgn.experiments.baselines import baselines, summary

    result = baselines(_config(args), args.output, faces=args.faces)
    report(summary(result), result)


VIEWS = """Measure which latent dimensions covary with the viewing angle (5.1, Eq. 21, Fig. 6 and 7).

  dgn experiment views runs/faces_demo
  dgn experiment views runs/celeba --data fei/ --crop 5,2,23,20

Images of the same people at views from -30 to 30 degrees are inferred; R of Eq. 21 is computed for every dimension of
Z^g and Z^a, along the model's own dimensions and along the principal axes, which the pictures show. Without --data the
faces are generated. --data: a folder with labels of view (labels.csv, or the FEI set). Written to the run folder:
section "views" of metrics.json, figures/views_*.png.
"""


def _views_options(parser: ArgumentParser) -> None:
    _run_option(parser)
    parser.add_argument("--data", metavar="FOLDER", type=user_path, help="labelled images (default: generated faces)")
    parser.add_argument("--crop", type=crop, metavar="L,T,R,B", help="their crop (default: the run's)")
    parser.add_argument("--faces", type=positive, default=100,
                        help="people, at most (default %(default)s, as the paper)")
    parser.add_argument("--steps", type=positive, help="Langevin steps (default: evaluation.steps of the run)")


def _views(args: Namespace) -> None:
    from dgn.experiments.views import summary, views
    from dgn.run import load

    run = load(args.run_folder, args.device)
    result = views(run, data=args.data, crop=args.crop, people=args.faces, steps=args.steps)
    report(summary(result), result)


TRANSFER = """Transfer the geometry of general faces to frontal faces of other people (5.2, Table 1).

  dgn experiment transfer --config config/transfer_faces.yaml --output runs/transfer
  dgn experiment transfer --config config/transfer_celeba.yaml --data celeba/ --target fei/ --frontal '*-1[12].jpg' \\
      --target-crop 5,2,23,20 --output runs/transfer_fei

Ours, ABP and VAE are trained on general faces and fine-tuned on frontal faces of other people, ours with its geometry
frozen; then people unseen in both are reconstructed at five views. Without --data and --target all faces are
generated. --target: a folder with labels of view (labels.csv, or the FEI set); the people of the last --held-out files
of --frontal are the unseen ones. Written to --output: metrics.json, figures/transfer.png, and two run folders for each
model and run.
"""


def _transfer_options(parser: ArgumentParser) -> None:
    _recipe_options(parser, "runs/transfer")
    _target_options(parser, count=1000, epochs=30)
    parser.add_argument("--held-out", type=positive, default=100,
                        help="the last frontal files of --target, whose people stay unseen (default %(default)s)")
    parser.add_argument("--runs", type=positive, default=3,
                        help="independent runs (default %(default)s; the paper: 10)")
    parser.add_argument("--unseen", type=positive, default=100,
                        help="unseen people (default %(default)s; the paper: 1000)")


def _transfer(args: Namespace) -> None:
    from dgn.experiments.transfer import summary, transfer

    target = _target(args, args.held_out)
    result = transfer(_config(args), args.output, target=target, runs=args.runs, people=args.unseen)
    report(summary(result), result)


EXPRESSIONS = """Transfer expressions of grayscale faces to colour faces (5.2, Fig. 8).

  dgn experiment expressions --config config/expressions.yaml --output runs/expressions dgn experiment expressions
  --config config/expressions.yaml --set data.limit=null --set data.held_out=0 --data ckplus48/ \\
      --target fei/ --frontal '*-11.jpg' --target-crop 5,2,23,20 --output runs/expressions_ck

The deformable model is trained on grayscale faces with expressions; its appearance generator is fine-tuned on neutral
colour faces with the geometry frozen; geometric latents of the grayscale faces then warp the colour ones. Without
--data and --target the faces are generated, and the known factors show which donor mouth, brows, skin and hair follow.
Written to --output: metrics.json, figures/expressions.png, and two run folders with their own figures.
"""


def _expressions_options(parser: ArgumentParser) -> None:
    _recipe_options(parser, "runs/expressions")
    _target_options(parser, count=300, epochs=100)


def _expressions(args: Namespace) -> None:
    from dgn.experiments.expressions import expressions, summary

    result = expressions(_config(args), args.output, target=_target(args))
    report(summary(result), result)


ANIMALS = """Apply the geometry of a face model to animals (5.4, Fig. 12a).

  dgn experiment animals runs/faces_demo
  dgn experiment animals runs/celeba --data animals/ --labels eyes.csv

A drawn cat and monkey, or the faces in the folder --data, are warped by the strongest geometric dimensions. The faces
are turned, scaled and cut by their eyes, given in --labels or in labels.csv of the folder (columns file, left_eye_x,
left_eye_y, right_eye_x, right_eye_y); without such a file they are used as they are, and should be frontal and as large
in the picture as the run's faces. Written to the run folder: figures/animals.png.
"""


def _animals_options(parser: ArgumentParser) -> None:
    _run_option(parser)
    parser.add_argument("--data", "--images", metavar="FOLDER", type=user_path,
                        help="animal faces (default: drawn ones)")
    parser.add_argument("--labels", metavar="FILE", type=user_path,
                        help="their eyes (default: labels.csv, crops.csv or index.tsv in --data)")
    parser.add_argument("--eyes", type=pair, metavar="X,Y",
                        help="where the left eye is cut to, as shares of the side from the left and the top (default: "
                             "where generated faces have it, or 0.325,0.36)")
    parser.add_argument("--gamma", type=above_zero, help="from -gamma to gamma (default: evaluation.gamma of the run)")


def _animals(args: Namespace) -> None:
    from dgn.experiments.animals import animals, summary
    from dgn.run import load

    result = animals(load(args.run_folder, args.device), images=args.data, labels=args.labels, eyes=args.eyes,
                     gamma=args.gamma)
    report(summary(result), result)


LABELS = """Measure how well a label that is given as appearance explains an image (5.4, MNIST).

  dgn train --config config/mnist.yaml --data mnist/ --output runs/mnist
  dgn experiment labels runs/mnist

Analysis: Z^g of held-out images is inferred under every label; the label with the least energy is compared with the
true one. Synthesis: a classifier trained on real images classifies generated images of every label. Written to the run
folder: section "labels" of metrics.json; `dgn train` and `dgn figures` draw Fig. 13.
"""


def _labels_options(parser: ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", type=user_path,
                        help="output folder of a training with model.appearance=label")
    parser.add_argument("--images", type=positive, default=300, help="held-out images, at most (default %(default)s)")
    parser.add_argument("--steps", type=positive, default=100,
                        help="Langevin steps under each label (default %(default)s)")
    add_data(parser)


def _labels(args: Namespace) -> None:
    from dgn.experiments.labels import labels, summary
    from dgn.run import load

    result = labels(load(args.run_folder, args.device, args.data), images=args.images, steps=args.steps)
    report(summary(result), result)


LANDMARKS = """Predict landmarks from displacement fields (5.5, Table 2, Fig. 14).

  dgn experiment landmarks runs/faces_demo
  dgn experiment landmarks runs/mtfl --data mtfl/

Every image is inferred; a regressor with 100 hidden units is trained on the displacement fields of some images and
tested on the others. Controls: the same regressor on raw pixels, and the mean shape. Without --data the faces are
generated. --data: a folder with labels of landmarks (labels.csv, or MTFL's index.tsv); images that the run was not
trained on are the test, or, if there are none or it is unknown, the last fifth. --folds 10 tests every image once, by
regressors of the other folds: for few images. Written to the run folder: section "landmarks" of metrics.json,
figures/landmarks.png.
"""


def _landmarks_options(parser: ArgumentParser) -> None:
    _run_option(parser)
    parser.add_argument("--data", metavar="FOLDER", type=user_path,
                        help="images with landmarks (default: generated faces)")
    parser.add_argument("--crop", type=crop, metavar="L,T,R,B", help="their crop (default: the run's)")
    parser.add_argument("--faces", type=positive, help="images, at most (default: all, or 2500 generated ones)")
    parser.add_argument("--steps", type=positive, help="Langevin steps (default: evaluation.steps of the run)")
    parser.add_argument("--epochs", type=positive, default=200, help="of the regressor (default %(default)s)")
    parser.add_argument("--folds", type=positive, default=1, help="of a cross-validation (default: none)")


def _landmarks(args: Namespace) -> None:
    from dgn.experiments.landmarks import landmarks, summary
    from dgn.run import load

    run = load(args.run_folder, args.device)
    result = landmarks(run, data=args.data, crop=args.crop, count=args.faces, steps=args.steps, epochs=args.epochs,
                       folds=args.folds)
    report(summary(result), result)


ADVERSARIAL = """Compare the likelihood alone with the likelihood and a critic (5.3, Eq. 22, Fig. 9 and 11).

  dgn experiment adversarial --config config/adversarial_faces64.yaml --output runs/adversarial
  dgn experiment adversarial --config config/adversarial256.yaml --data portraits/ --output runs/portraits

A model is trained by the likelihood alone; two runs continue from it, one with the recipe's critic. Both are measured:
error, sharpness and Frechet distance of reconstructions and samples, variety of samples, and on generated faces
disentanglement with known factors. Written to --output: metrics.json, figures/ (reconstructions side by side,
recombination of unseen images), and three run folders.
"""


def _adversarial_options(parser: ArgumentParser) -> None:
    _recipe_options(parser, "runs/adversarial")
    parser.add_argument("--data", metavar="PATH", type=user_path,
                        help="images (data.path); without it faces are generated")
    parser.add_argument("--more-epochs", type=positive, default=60,
                        help="of each of the two continued runs (default %(default)s)")
    parser.add_argument("--rate", type=above_zero, default=1e-3,
                        help="their learning rate, at the end 0.3 times that (default %(default)s)")
    parser.add_argument("--faces", type=positive, default=500,
                        help="unseen generated faces whose latents are measured (default %(default)s)")


def _adversarial(args: Namespace) -> None:
    from dgn.experiments.adversarial import adversarial, summary

    result = adversarial(_config(args), args.output, more_epochs=args.more_epochs, learning_rate=args.rate,
                         faces=args.faces)
    report(summary(result), result)


BALANCE = """Sweep alpha, beta and the geometry's initial scale: the explaining-away competition (5.7).

  dgn experiment balance --config config/balance.yaml --output runs/balance

The recipe is trained for each value of alpha, the ratio of channels (scheme 1); of beta, the scale of the geometry's
weights at run time (scheme 2); and of the initial scale of the geometry's last layer. Measured: the error, how far
pose follows the geometry and colour the appearance, whether the appearance is a checkerboard, and size and smoothness
of the displacement. Written to --output: metrics.json, figures/balance.png and balance_faces.png, and a run folder for
each value.
"""
SWEEPS = ("alpha", "beta", "start")


def _balance_options(parser: ArgumentParser) -> None:
    _recipe_options(parser, "runs/balance")
    parser.add_argument("--sweep", choices=SWEEPS, action="append",
                        help="only this one; may be repeated (default: all)")
    parser.add_argument("--shown", type=positive, default=5, help="faces of the picture (default %(default)s)")


def _balance(args: Namespace) -> None:
    from dgn.experiments import balance

    sweeps = {name: values for name, values in balance.SWEEPS.items() if name in (args.sweep or SWEEPS)}
    result = balance.balance(_config(args), args.output, sweeps=sweeps, shown=args.shown)
    report(balance.summary(result), result)


EXPERIMENTS: Dict[str, Experiment] = {
    "baselines": Experiment(
        "ours, ABP, VAE, deformable VAE, Deforming Autoencoder: reconstruction and disentanglement with known factors",
        BASELINES, _baselines_options, _baselines),
    "views": Experiment(
        "covariance of each latent dimension with the viewing angle (5.1)", VIEWS, _views_options, _views),
    "transfer": Experiment(
        "geometry of general faces, appearance tuned on frontal ones, unseen views reconstructed (5.2, Table 1)",
        TRANSFER, _transfer_options, _transfer),
    "expressions": Experiment(
        "expressions of grayscale faces, transferred to colour faces (5.2, Fig. 8)",
        EXPRESSIONS, _expressions_options, _expressions),
    "animals": Experiment(
        "geometry of a face model applied to animal faces (5.4, Fig. 12a)", ANIMALS, _animals_options, _animals),
    "labels": Experiment(
        "how well the label that is given as appearance explains an image (5.4, MNIST)",
        LABELS, _labels_options, _labels),
    "landmarks": Experiment(
        "landmarks predicted from displacement fields (5.5, Table 2)", LANDMARKS, _landmarks_options, _landmarks),
    "adversarial": Experiment(
        "the likelihood alone and with a critic: sharpness, Frechet distance, disentanglement (5.3, Fig. 9, 11)",
        ADVERSARIAL, _adversarial_options, _adversarial),
    "balance": Experiment(
        "the explaining-away competition over alpha, beta and the geometry's initial scale (5.7)",
        BALANCE, _balance_options, _balance),
}

"""Recognition of classes (5.6, Table 3): person-independent folds, and scores of predicted classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from dgn.evaluation.uncertainty import standard_error_of_mean
from dgn.randomness import generator


def person_folds(persons: Sequence[Any], count: int, seed: int) -> list[np.ndarray]:
    """Folds of a cross-validation in which all samples of a person are in one fold.

    persons: (n,), the person of each sample. count: number of folds. seed: random seed of the assignment of people to
    folds. Returns the indices of the samples in each fold. Raises ValueError if there are fewer people than folds.
    """
    people = sorted(set(persons))
    if len(people) < count:
        raise ValueError(f"{len(people)} people cannot make {count} folds")
    shuffled = generator(seed, "recognition folds").permutation(len(people))
    fold = {people[person]: number % count for number, person in enumerate(shuffled)}
    return [np.flatnonzero([fold[person] == k for person in persons]) for k in range(count)]


def recognition_scores(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str],
                       persons: Sequence[Any]) -> dict[str, Any]:
    """Scores of predicted classes.

    truth, predicted: (n,), indices into classes. classes: their names. persons: (n,), the person of each sample.
    Returns a dictionary:
        accuracy: fraction of samples that are classified correctly.
        accuracy_stderr: standard error of the accuracy over people.
        mean_recall: fraction of a class's samples that are classified correctly, averaged over classes.
        classes: their names.
        confusion: counts, with a row for each true class and a column for each predicted class.
    """
    confusion = confusion_matrix(truth, predicted, labels=range(len(classes)))
    recall = np.diag(confusion) / np.maximum(confusion.sum(1), 1)
    right = (truth == predicted).astype(float)
    return {"accuracy": float(right.mean()), "accuracy_stderr": standard_error_of_mean(right, persons),
            "mean_recall": float(recall.mean()), "classes": list(classes), "confusion": confusion.tolist()}

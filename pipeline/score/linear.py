"""The linear probe: what a linear classifier can read from frozen features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # C, ascending: of equal scores the strongest regularisation wins
FOLDS, FLOOR = 5, -30.0


def linear(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    classes: int,
    seed: int = 0,
) -> tuple[float, Tensor]:
    """Accuracy on the test rows, and their log-probabilities (n, K), floored at -30.

    Multinomial logistic regression on features centred and scaled by one number from the training rows: a std of its
    own for each dimension would, from a few rows, blow the noise up. The strength is chosen by stratified
    cross-validation among the training labels; with a single label of some class C = 1 is taken.
    A class without a training label gets the floor.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from threadpoolctl import threadpool_limits

    train, test, y = (t.cpu().numpy() for t in (train_features.double(), test_features.double(), train_labels))
    mean, std = train.mean(0), (train - train.mean(0)).std() or 1.0
    seen, counts = np.unique(y, return_counts=True)
    model = LogisticRegression(max_iter=2000)
    if counts.min() > 1:
        folds = StratifiedKFold(min(FOLDS, int(counts.min())), shuffle=True, random_state=seed)
        model = GridSearchCV(model, {"C": STRENGTHS}, cv=folds)
    # The matrices are small: threads would mostly wait for one another, on a busy machine for minutes.
    with threadpool_limits(1), np.errstate(divide="ignore"):
        model.fit((train - mean) / std, y)
        read = model.predict_log_proba((test - mean) / std)
    logits = np.full((len(read), classes), FLOOR)
    logits[:, seen] = np.maximum(read, FLOOR)
    right = logits.argmax(1) == test_labels.cpu().numpy()
    return float(right.mean()), torch.from_numpy(logits)

"""Classes that are not in the set are never guessed."""

import torch

from pipeline.robustness.subset import guesses


def test_the_maximum_is_taken_among_the_classes_of_the_set():
    logits = torch.tensor([[9.0, 1.0, 2.0, 0.0], [0.0, 5.0, 1.0, 9.0], [1.0, 2.0, 3.0, 4.0]])
    assert guesses(logits, torch.tensor([1, 2])).tolist() == [2, 1, 2]
    assert guesses(logits, torch.arange(4)).tolist() == logits.argmax(1).tolist()
    assert guesses(logits, torch.tensor([3, 0])).tolist() == [0, 3, 3]  # numbered as in the logits

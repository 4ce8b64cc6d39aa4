import torch

from pipeline.nets.branch import Branch, together
from pipeline.nets.heads import Head


def test_a_branch_is_head_after_encoder(encoder):
    branch, x = Branch(encoder(), Head([64, 10])).eval(), torch.randn(4, 3, 8, 8)
    assert torch.equal(branch(x), branch.head(branch.encoder(x)))


def test_together_is_one_forward_for_batch_norm(encoder):
    branch = Branch(encoder(), Head([64, 10]))
    a, b = torch.randn(4, 3, 8, 8), 3 * torch.randn(2, 3, 8, 8) + 1
    joint = branch(torch.cat([a, b]))
    seen = branch.encoder.net.bn1.num_batches_tracked.item()
    on_a, on_b = together(branch, a, b)
    assert branch.encoder.net.bn1.num_batches_tracked.item() == seen + 1
    assert torch.equal(on_a, joint[:4])
    assert torch.equal(on_b, joint[4:])
    assert not torch.allclose(branch(a), on_a, atol=1e-3)  # alone, the statistics are others

"""What is written comes back, to the precision of fp16, and damage is noticed."""

import json

import pytest
import torch
from safetensors import safe_open

from pipeline import files
from pipeline.errors import BadData, WrongVersion
from pipeline.label.sidecar import ABOUT, kept, read_sidecar, write_sidecar


def about(rows, classes, top=16):
    page = dict.fromkeys(ABOUT, "x") | {"version": 1, "rows": rows, "classes": classes}
    return page | {"top": kept(classes, top)}


def write(path, logits, top=16):
    write_sidecar(path, logits, about(*logits.shape, top))
    return read_sidecar(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.safetensors"


def draw(rows, classes, scale=4.0):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(rows)) * scale


@pytest.mark.parametrize("classes", [2, 10, 256])
def test_dense_logits_come_back(path, classes):
    logits = draw(17, classes)
    found = write(path, logits).logits(range(17))
    centred = logits - logits.amax(1, keepdim=True)
    assert found.dtype == torch.float32
    assert torch.equal(found, centred.half().float())
    torch.testing.assert_close(found.softmax(1), logits.softmax(1), rtol=2e-2, atol=1e-7)


@pytest.mark.parametrize("rows", [torch.tensor([3, 0, 3]), [3, 0, 3], slice(1, 4)])
@pytest.mark.parametrize("classes", [5, 300])
def test_rows_are_picked_as_asked(path, rows, classes):
    sidecar = write(path, draw(5, classes))
    assert torch.equal(sidecar.logits(rows), sidecar.logits(slice(None))[rows])


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0, 30.0])
def test_top_keeps_its_probabilities_and_spreads_the_rest(path, scale):
    logits = draw(40, 1000, scale)
    sidecar = write(path, logits)
    true, found = logits.double().softmax(1), sidecar.logits(range(40)).double().softmax(1)
    top = true.topk(16).indices
    assert sidecar.tensors["logits"].shape == (40, 16)
    torch.testing.assert_close(found.sum(1), torch.ones(40).double())
    # fp16 rounds a logit l by |l| 2^-11 at most; the top probabilities change by that factor, and Z by less
    error = (logits.gather(1, top) - logits.amax(1, keepdim=True)).abs() * 2**-10
    assert ((found.gather(1, top) / true.gather(1, top)).log().abs() <= error + 2e-3).all()
    others = found.scatter(1, top, float("nan"))
    others = others[~others.isnan()].view(40, -1)
    assert torch.equal(others.amin(1), others.amax(1))
    # and what is left for the others is right to fp32, however wrong fp16 is about the kept ones
    left = 1 - true.gather(1, top).sum(1)
    torch.testing.assert_close(others.sum(1), left, rtol=4e-3, atol=2e-6)
    assert torch.equal(found.argmax(1), true.argmax(1))


@pytest.mark.parametrize("many", range(1, 15))
def test_no_class_left_out_beats_one_that_was_kept(path, many):
    """The rest is below what fp32 can tell from nothing: the error of logsumexp must not lift it over the last kept."""
    logits = torch.full((1, 300), -40.0)
    logits[0, :many], logits[0, many] = 0.0, -20.0
    found = write(path, logits, top=many + 1).logits([0])[0]
    assert found[many] == -20 and found[many + 1 :].max() <= -20


def test_the_lower_of_equal_classes_is_kept(path):
    sidecar = write(path, torch.zeros(2, 300), top=3)
    assert sidecar.tensors["indices"].tolist() == [[0, 1, 2]] * 2
    torch.testing.assert_close(sidecar.logits([0]).softmax(1), torch.full((1, 300), 1 / 300))


def test_top_of_all_classes_is_dense(path):
    assert set(write(path, draw(3, 300), top=300).tensors) == {"logits"}


@pytest.mark.parametrize("top, classes", [(16, 3), (16, 256), (16, 1000), (1, 300), (299, 300)])
def test_the_surest_class_is_that_of_the_dense_row(path, top, classes):
    """No row made dense, and yet the same: also where fp16 makes equal what was not, and where the rest is clamped."""
    flat, rounded, left_out = torch.zeros(3, 1, classes)
    rounded[0, :2], rounded[0, 2] = torch.tensor([-5.0, -1e-9]), 0.0  # kept as 2, 1; equal once they are stored
    left_out[0, :2] = -1e-9  # not among the kept, and stored as large as they
    edge = torch.full((1, classes), -3.0011).index_fill(1, torch.tensor([1]), 0.0)  # stored as -3.002, below the rest
    rows = [draw(50, classes, scale) for scale in (0.01, 1.0, 4.0, 30.0)]
    sidecar = write(path, torch.cat([*rows, flat, rounded, left_out, edge]), top)
    dense = sidecar.logits(slice(None))
    confidence, guess = sidecar.surest(slice(None))
    assert (confidence.dtype, guess.dtype) == (torch.float32, torch.int64)
    assert torch.equal(guess, dense.argmax(1))
    torch.testing.assert_close(confidence, dense.double().softmax(1).amax(1).float(), rtol=1e-6, atol=0)
    assert torch.equal(sidecar.surest([7, 2, 7])[0], confidence[[7, 2, 7]])


@pytest.mark.parametrize("classes", [3, 300])
def test_logits_beyond_fp16_stay_finite(path, classes):
    logits = torch.zeros(2, classes)
    logits[0, 1], logits[1] = 3e5, -3e5
    logits[1, 2] = 3e5
    found = write(path, logits).logits([0, 1])
    assert found.isfinite().all()
    torch.testing.assert_close(found.softmax(1), logits.softmax(1), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("classes", [10, 300])
def test_equal_logits_are_equal_bytes(tmp_path, classes):
    logits = draw(9, classes)
    write(tmp_path / "a", logits)
    write(tmp_path / "b", logits.clone())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_plain_safetensors_reads_it(path):
    logits = draw(6, 10)
    write(path, logits)
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["about"])["rows"] == 6
        assert torch.equal(file.get_tensor("logits").argmax(1), logits.argmax(1))


def test_another_version_is_refused(path):
    files.write_safetensors(path, {"logits": torch.zeros(1, 3).half()}, about(1, 3) | {"version": 2})
    with pytest.raises(WrongVersion, match=r"s\.safetensors: version 2"):
        read_sidecar(path)


@pytest.mark.parametrize(
    "tensors, page",
    [
        ({"logits": torch.zeros(2, 3).half()}, {}),
        ({"logits": torch.zeros(2, 3).half()}, {"version": 1}),
        ({"logits": torch.zeros(2, 3).half()}, about(2, 3) | {"also": 1}),
        ({"logits": torch.zeros(1, 3).half()}, about(2, 3)),
        ({"logits": torch.zeros(2, 4).half()}, about(2, 3)),
        ({"logits": torch.zeros(2, 3)}, about(2, 3)),
        ({"other": torch.zeros(2, 3).half()}, about(2, 3)),
        ({"logits": torch.zeros(2, 16).half()}, about(2, 300)),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(path, tensors, page):
    files.write_safetensors(path, tensors, page)
    with pytest.raises(BadData, match=r"s\.safetensors"):
        read_sidecar(path)


def test_a_class_out_of_range_is_refused(path):
    sidecar = write(path, draw(2, 300))
    sidecar.tensors["indices"][1, 3] = 300
    files.write_safetensors(path, dict(sidecar.tensors), sidecar.about)
    with pytest.raises(BadData, match="beyond 299"):
        read_sidecar(path)

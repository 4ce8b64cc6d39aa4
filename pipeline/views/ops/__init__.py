"""The ops of the recipe language. Each file here is read by pipeline/views/signatures.py: a subclass of Op is an op."""

from pipeline.views.ops import erasing, geometric, photometric, randaugment
from pipeline.views.ops.op import Op

__all__ = ["Op", "erasing", "geometric", "photometric", "randaugment"]

"""One page that shows what a run did: `build` writes it, `markdown` gives its table of scores."""

from pipeline.report.page import build, markdown

__all__ = ["build", "markdown"]

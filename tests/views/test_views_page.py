from pathlib import Path

from pipeline.views import recipes
from pipeline.views.signatures import signatures

PAGE = (Path(__file__).parents[2] / "docs" / "views.md").read_text(encoding="utf-8")


def table() -> str:
    """The ops as docs/views.md must show them."""
    lines = ["| op | what it does | its arguments |", "|---|---|---|"]
    for name, signature in signatures().items():
        arguments = signature.arguments.values()
        allowed = "; ".join(f"`{a.name}` {a.range.low:g} to {a.range.high:g}" for a in arguments)
        call = f"{name}({signature})" if signature.arguments else name
        lines.append(f"| `{call}` | {' '.join(signature.about.split())} | {allowed or 'none'} |")
    return "\n".join(lines)


def test_the_table_of_ops_is_current():
    assert table() in PAGE, f"put this into docs/views.md:\n{table()}"


def test_the_presets_are_current():
    presets = [f"{name:13}{text}" for name, text in vars(recipes).items() if name.isupper()]
    assert "\n".join(presets) in PAGE

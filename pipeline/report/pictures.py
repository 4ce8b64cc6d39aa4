"""The pseudo-labelled images that an audit names, as data inside the page."""

from __future__ import annotations

import base64
import io
from typing import Any

from pipeline.data.shards import ShardSet
from pipeline.errors import BadData

TINY, THUMB, SHOWN = 48, 96, 72  # side up to which an image stays exact; of a thumbnail; on the page
MOST, TOGETHER = 12, 36  # pictures of each kind: of a round, and of all rounds
KINDS = (
    ("surest_right", "Surest right", "the teacher was right, and certain"),
    ("surest_wrong", "Surest wrong", "the teacher was certain, and wrong"),
    ("surest", "Surest", "the highest confidence"),
    ("least_sure", "Least sure", "the lowest confidence"),
)


def galleries(audit: dict[str, Any], shards: ShardSet, rounds: int) -> list[dict[str, Any]]:
    """The lists that are not empty, each with its pictures. `surest` is left out where truth splits it in two.

    Of more than three `rounds` each shows fewer pictures, so that the page keeps its size.
    """
    rows, lists = {key: row for row, key in enumerate(shards.keys)}, audit["pictures"]
    most = max(1, min(MOST, TOGETHER // rounds))
    shown = [kind for kind in KINDS if lists.get(kind[0]) and not (kind[0] == "surest" and audit["truth"])]
    return [
        {
            "title": title,
            "about": about,
            "pictures": [_picture(p, audit["classes"], rows, shards) for p in lists[kind][:most]],
        }
        for kind, title, about in shown
    ]


def _picture(about: dict[str, Any], classes: list[str], rows: dict[str, int], shards: ShardSet) -> dict[str, Any]:
    if about["key"] not in rows:
        raise BadData(f"{shards.folder}: the audit shows {about['key']!r}, which is not there; run `audit` again")
    label, size = about.get("label"), shards.manifest.size
    return {
        "source": _data(shards.images([rows[about["key"]]])[0].numpy()),
        "exact": size <= TINY,
        "side": size * max(1, round(SHOWN / size)) if size <= TINY else THUMB,
        "key": about["key"],
        "guess": _name(about["guess"], classes),
        "label": None if label is None else _name(label, classes),
        "confidence": about["confidence"],
    }


def _name(value: int | str, classes: list[str]) -> str:
    if isinstance(value, str):
        return value
    return classes[value] if value >= 0 else "none of the classes"


def _data(pixels: Any) -> str:
    """A data URI of pixels (C, H, W): PNG for tiny images, whose every pixel is to be seen, else a JPEG thumbnail."""
    from PIL import Image

    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    kind, options = "png", dict[str, Any](optimize=True)
    if max(image.size) > TINY:
        image.thumbnail((THUMB, THUMB))
        kind, options = "jpeg", dict[str, Any](quality=85)
    packed = io.BytesIO()
    image.save(packed, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(packed.getvalue()).decode()}"

"""What the tests look for in a page, and in the files it is made of."""

import csv
import json
import re
from html.parser import HTMLParser

MODELS = ("baseline", "finetune", "student-1", "student-2")


class Page(HTMLParser):
    """Rows of cells by their data- attribute, ids, headings, pictures, and whatever could load something."""

    def __init__(self, path):
        super().__init__()
        self.rows, self.ids, self.loads, self.tags, self.images = {}, set(), [], [], []
        self.row = self.cell = None
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        about = dict(attributes)
        self.tags.append(tag)
        self.ids |= {about["id"]} if "id" in about else set()
        self.loads += [about[key] for key in ("src", "href", "srcset", "data", "action", "xlink:href") if key in about]
        if tag == "img":
            self.images.append(about)
        if tag == "tr":
            self.row = about.get("data-model") or about.get("data-probe")
            for table in ("layers", "calibration", "since", "seeds"):
                if f"data-{table}" in about:
                    self.row = f"{table} of {about[f'data-{table}']}"
            self.rows.setdefault(self.row, [])
        if tag in ("td", "th"):
            self.rows[self.row].append("")
            self.cell = True

    def handle_endtag(self, tag):
        self.cell = False if tag in ("td", "th") else self.cell

    def handle_data(self, data):
        if self.cell:
            self.rows[self.row][-1] += data


def lines(figure):
    """{colour: [(x, y), ...]} as drawn."""
    found = re.findall(r'<polyline points="(.*?)" class="line" style="stroke:var\(--(.*?)\)"', figure)
    return {colour: [tuple(map(float, pair.split(","))) for pair in points.split()] for points, colour in found}


def metrics(root, name):
    return json.loads((root / "scores" / name / "metrics.json").read_text())


def right(root, name):
    with open(root / "scores" / name / "confusion.csv") as file:
        return [row["actual"] == row["predicted"] for row in csv.DictReader(file)]

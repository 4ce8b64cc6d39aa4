"""The section of the pseudo-labels draws what the audits say."""

import html
import json
import re

import pytest

from pipeline import report
from pipeline.report import audits
from pipeline.report.balance import balance
from tests.report.parsed import lines

HEADS = ("Calibration of the teacher", "After temperature scaling", "Images of no class", "Threshold of each class")


def audit_of(root, name):
    return json.loads((root / "audits" / name / "audit.json").read_text())


def rounds(root):
    """The words and figures of each round."""
    text = (root / "report.html").read_text()
    section = re.search(r'<section id="labels">.*?</section>', text, re.DOTALL)[0]
    return [html.unescape(part) for part in section.split('<h3 id="round-')[1:]]


def rewrite(root, name, **changes):
    page = audit_of(root, name) | changes
    (root / "audits" / name / "audit.json").write_text(json.dumps(page))


def test_calibration_before_and_after_is_that_of_the_audit(make):
    root, params = make()
    report.build(root, params)
    for name, shown in zip(("1", "2"), rounds(root), strict=True):
        found = audit_of(root, name)["temperature"]
        words = re.findall(r"ECE ([\d.]+) %, NLL ([\d.]+)\.", shown)
        assert words == [(f"{100 * found[k]['ece']:.1f}", f"{found[k]['nll']:.3f}") for k in ("before", "after")]
        assert f"divided by {found['t']:.2f}, fitted on {found['fitted']} images of the other half" in shown
        assert shown.count('aria-label="Reliability of') == 2


def test_without_a_temperature_all_known_images_are_shown(make):
    root, params = make()
    rewrite(root, "1", temperature=None)
    report.build(root, params)
    first = rounds(root)[0]
    assert first.count('aria-label="Reliability of') == 1 and "After temperature" not in first


def test_rejecting_images_of_no_class_is_that_of_the_audit(make):
    """x from 44 to 327, y from 232 to 10: the chart of the thresholds."""
    root, params = make()
    out = audit_of(root, "1")["out_of_class"]
    recall, precision = out["by_threshold"]["recall"], out["by_threshold"]["precision"]
    drawn = lines(audits.rejection(audit_of(root, "1")))
    assert drawn["accent"][60] == pytest.approx((44 + 0.6 * 283, 232 - 222 * recall[60]), abs=0.06)
    assert drawn["teacher"][-1] == pytest.approx((327, 232 - 222 * precision[100]), abs=0.06)
    assert len(drawn["teacher"]) == sum(share is not None for share in precision) < 101
    report.build(root, params)
    first = rounds(root)[0]
    assert f"are {out['n']} of {out['known']} (" in first
    assert f"are {100 * out['recall']:.1f} % of them; of all that was rejected they are" in first
    assert f"AUROC of the confidence: {100 * out['auroc']:.1f} %" in first


def test_each_class_has_its_lines_and_its_threshold(make):
    """x from 28 to 148, y from 90 to 10: 0 to 1."""
    root, _ = make()
    audit = audit_of(root, "2")
    curves, row = audit["class_curves"], audit["per_class"][3]
    row["threshold"] = 0.85
    panels = audits.classes(audit, 2)
    assert [panel["class"] for panel in panels] == [*"0123456789"]
    figure, place = panels[3]["figure"], curves["thresholds"].index(0.8)
    for colour, column in (("accent", "coverage"), ("teacher", "precision")):
        assert lines(figure)[colour][place] == pytest.approx((124, 90 - 80 * curves[column][3][place]), abs=0.06)
    assert float(re.search(r'x1="([\d.]+)"[^>]*class="chosen"', figure)[1]) == pytest.approx(
        28 + 120 * row["threshold"]
    )
    assert panels[3]["end"] == row["precision"]


def test_of_many_classes_the_worst_are_drawn_and_fewer_in_many_rounds(make):
    root, _ = make()
    audit = audit_of(root, "1")
    audit["class_curves"] = {k: v * 3 if k != "thresholds" else v for k, v in audit["class_curves"].items()}
    audit["per_class"] = [row | {"class": f"c{i}"} for i, row in enumerate(audit["per_class"] * 3)]
    audit["per_class"][0]["guessed"] = 0  # there is nothing to draw
    audit["per_class"][17]["precision"] = None  # nothing of it was selected
    for rounds, expected in ((1, 20), (6, 10), (100, 4)):
        drawn = audits.classes(audit, rounds)
        assert len(drawn) == expected
        ends = [panel["end"] for panel in drawn]
        assert (
            ends
            == sorted(ends)
            == sorted(r["precision"] for i, r in enumerate(audit["per_class"]) if i not in (0, 17))[:expected]
        )


def widths(figure, kind):
    return [
        float(x) for x in re.findall(rf'<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)" height="7" class="{kind}"', figure)
    ]


def test_the_bars_are_shares_of_the_guesses_the_selected_their_weight_and_the_truth(make):
    root, _ = make()
    audit = audit_of(root, "2")
    drawn = balance(audit)
    figure, rows = drawn["figure"], audit["per_class"]
    assert [bar["title"] for bar in drawn["legend"]] == ["All guesses", "Selected", "Selected, by weight", "Truth"]
    strokes = [float(x) for x in re.findall(r'<line x1="([\d.]+)"[^>]*class="true"', figure)]
    left = float(re.search(r'<rect x="([\d.]+)"', figure)[1])
    ends = {
        "guessed": widths(figure, "before"),
        "selected": widths(figure, "between"),
        "weight": widths(figure, "after"),
    }
    ends["true"] = [x - left for x in strokes]
    scale = {k: sum(each) for k, each in ends.items()}
    assert max(scale.values()) - min(scale.values()) < 1.5, "all of them are the same whole"
    for column, drawn in ends.items():
        total = sum(row[column] for row in rows)
        assert drawn == pytest.approx([row[column] / total * scale[column] for row in rows], abs=0.2)


def test_a_weight_of_one_and_an_unknown_truth_have_no_bars(make):
    root, _ = make()
    audit = audit_of(root, "1")
    drawn = balance(audit | {"truth": False})
    assert [bar["title"] for bar in drawn["legend"]] == ["All guesses", "Selected"]
    assert 'class="between"' not in drawn["figure"] and 'class="true"' not in drawn["figure"]


def test_what_changed_stands_from_the_second_round_on(make):
    root, params = make()
    report.build(root, params)
    first, second = rounds(root)
    churn = audit_of(root, "2")["churn"]
    assert "Changed since" not in first and "Changed since round 1" in second
    rows = re.findall(
        r'<tr data-flow="2"><td class="left">(.*?)</td><td class="left">(.*?)</td>((?:<td>\d+</td>)*)', second
    )
    shown = [(a, b, *map(int, re.findall(r"\d+", cells))) for a, b, cells in rows]
    assert shown == [(f["before"], f["now"], f["n"], f["right_before"], f["right_now"]) for f in churn["flows"]]
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", second))
    assert facts["Guesses that changed"] == f"{100 * churn['changed']:.1f} %"
    assert facts["Selected in both rounds"] == str(churn["both"])
    assert facts["From wrong to right"] == str(churn["wrong_to_right"])


def test_without_truth_what_needs_it_is_left_out(make):
    root, params = make(truth=False)
    report.build(root, params)
    first, second = rounds(root)
    assert not any(head in first for head in HEADS[:3]) and HEADS[3] in first
    assert "Guessed before" in second and "From wrong to right" not in second and "Right before" not in second

"""The figures: well-formed SVG that draws the record's numbers, follows the page's colours and can share a page."""

import re
from dataclasses import replace
from xml.etree import ElementTree as Tree

import pytest

from vauban.campaign.record import Curve, Record
from vauban.report import figures

FIGURES = (figures.curve, figures.questions, figures.cascade)


@pytest.mark.parametrize("draw", FIGURES)
def test_a_figure_is_svg_without_scripts_sizes_or_fetched_parts(record: Record, draw):
    svg = draw(record.findings[0])
    root = Tree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "width" not in root.attrib
    assert len(root.get("viewBox").split()) == 4
    assert not re.search(r"<script|<style|<image|href=\"(?!#)|purl", svg)
    assert not re.search(r"#0[1-9]0[1-9]0[1-9]", svg)
    assert "var(--blue, #" in svg


def test_ids_of_different_threats_do_not_meet(record: Record):
    one, other = record.findings[0], replace(record.findings[0], threat=replace(record.findings[0].threat, name="another"))
    ids = [re.findall(r' id="([^"]+)"', draw(f)) for draw in FIGURES for f in (one, other)]
    flat = [i for found in ids for i in found]
    assert len(flat) == len(set(flat))


def test_a_figure_is_the_same_every_time(record: Record):
    assert figures.curve(record.findings[0]) == figures.curve(record.findings[0])


def test_names_are_escaped_and_never_read_as_formulae(record: Record):
    finding = record.findings[0]
    evil = replace(finding, attacks=tuple(replace(a, label=f"<b>$x_{i}$ & {i}") for i, a in enumerate(finding.attacks)))
    for draw in (figures.cascade, figures.questions):
        words = "".join(Tree.fromstring(draw(evil)).itertext())
        assert "<b>$x_1$ & 1" in words


def test_the_cascade_counts_as_the_record_does(record: Record):
    words = [w.strip() for w in Tree.fromstring(figures.cascade(record.findings[0])).itertext() if w.strip()]
    assert [w for w in words if w in ("372", "369", "298", "220", "216")] == ["372", "369", "298", "220", "216"]


def test_the_staircase_rises_to_the_share_that_was_broken(record: Record):
    for attack in record.findings[0].attacks:
        x, y = figures._steps(attack, 41)
        assert len(x) == len(y)
        assert x == sorted(x)
        assert y == sorted(y)
        assert y[-1] == attack.broken / attack.tried
        for question in (1, 2, 10, 41):
            last = max(i for i, at in enumerate(x) if at <= question)
            assert y[last] == sum(first <= question for first in attack.first) / attack.tried


def test_nothing_is_drawn_where_nothing_was_measured(record: Record, empty_rows: Record):
    finding = empty_rows.findings[0]
    assert [draw(finding) for draw in FIGURES] == ["", "", ""]
    assert figures.curve(replace(record.findings[0], curve=Curve((0.1,), record.findings[0].curve.robust[:1]))) == ""


def test_an_eps_beyond_the_curve_is_not_marked(record: Record):
    finding = record.findings[0]
    assert "eps = 8/255" in figures.curve(finding)
    assert "eps = " not in figures.curve(replace(finding, threat=replace(finding.threat, eps=float("inf"))))

"""Plots are well-formed SVG that holds what it was given, and pages hold nothing that runs."""

import doctest
import math
from xml.etree import ElementTree as ET

import pytest

from touchstone import plots
from touchstone.pages import CONTENT_SECURITY_POLICY, facts, figure, page, table
from touchstone.plots import Figure, Series, figure_svg, frame_of, log_ticks, nice_ticks, svg_file

SVG = "{http://www.w3.org/2000/svg}"


def drawn(shown: Figure) -> ET.Element:
    """Return the figure's file, parsed."""
    return ET.fromstring(svg_file(shown))  # noqa: S314 - what we wrote ourselves


def test_examples() -> None:
    """The docstrings' examples hold."""
    tried = doctest.testmod(plots)
    assert 0 == tried.failed
    assert tried.attempted > 0


def test_a_line_with_a_band() -> None:
    """A line has a polyline of its points, a band of twice as many, and its name."""
    line = Series("a < b", (0.0, 1.0, 2.0), (1.0, 3.0, 2.0), (0.5, 2.5, 1.5), (1.5, 3.5, 2.5))
    root = drawn(Figure("T & t", "x", "y", (line,)))

    (polyline,) = root.iter(f"{SVG}polyline")
    (polygon,) = root.iter(f"{SVG}polygon")
    assert 3 == len(polyline.attrib["points"].split())
    assert 6 == len(polygon.attrib["points"].split())
    assert "a < b" in [text.text for text in root.iter(f"{SVG}text")]
    assert "T & t" == root.attrib["aria-label"]


@pytest.mark.parametrize(
    ("kind", "shape", "count"), [("points", "circle", 3), ("bars", "rect", 3), ("steps", "line", 0)]
)
def test_each_kind_draws_its_shapes(kind: plots.Kind, shape: str, count: int) -> None:
    """Points are circles and bars rectangles, one for each value; steps have corners."""
    series = Series("one", (1.0, 2.0, 4.0), (3.0, -1.0, 2.0))
    root = drawn(Figure("T", "x", "y", (series,), kind=kind))
    coloured = [each for each in root.iter(f"{SVG}{shape}") if "d s0" in each.get("class", "")]
    assert count == len(coloured)
    if kind == "steps":
        (polyline,) = root.iter(f"{SVG}polyline")
        assert 5 == len(polyline.attrib["points"].split())


def test_what_is_not_finite_or_has_no_logarithm_is_left_out() -> None:
    """NaN and infinity, and values of 0 or less on a logarithmic axis, are not drawn."""
    series = Series("one", (0.0, 1.0, 10.0, 100.0), (1.0, math.nan, 2.0, math.inf))
    root = drawn(Figure("T", "x", "y", (series,), kind="points", log_x=True))
    assert 1 == len(list(root.iter(f"{SVG}circle")))


def test_nothing_to_show_is_said() -> None:
    """A figure without values is a figure all the same."""
    assert "nothing to show" in svg_file(Figure("T", "x", "y", (Series("", (), ()),)))


def test_one_value_has_a_frame() -> None:
    """One value alone lies inside its plot."""
    frame = frame_of([5.0], [7.0])
    assert plots.LEFT < frame.x(5.0) < plots.WIDTH - plots.RIGHT
    assert plots.TOP < frame.y(7.0) < plots.HEIGHT - plots.BOTTOM


def test_much_is_thinned() -> None:
    """A long series is drawn by no more than `POINTS_MAX` of its points."""
    xs = tuple(float(place) for place in range(10_000))
    root = drawn(Figure("T", "x", "y", (Series("one", xs, xs),)))
    (polyline,) = root.iter(f"{SVG}polyline")
    assert plots.POINTS_MAX == len(polyline.attrib["points"].split())


@pytest.mark.parametrize(("low", "high"), [(0.0, 1e-7), (-5.0, 1e9), (99.99, 100.01)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    """Ticks of any scale are between 2 and 11, each inside and different."""
    ticks = nice_ticks(low, high)
    assert 2 <= len(set(ticks)) <= 11
    assert all(low <= tick <= high for tick in ticks)


@pytest.mark.parametrize(("low", "high"), [(-3.0, 4.0), (0.1, 0.9), (-20.0, 20.0)])
def test_log_ticks_are_inside(low: float, high: float) -> None:
    """Ticks of a logarithmic axis lie within its exponents."""
    ticks = log_ticks(low, high)
    assert 1 <= len(ticks) <= 20
    assert all(10 ** (low - 1e-9) <= tick <= 10 ** (high + 1e-9) for tick in ticks)


def test_a_page_escapes_and_runs_nothing() -> None:
    """Texts are escaped, the policy allows no script, and the plot stands in the page."""
    shown = Figure("<i>", "x", "y", (Series("s", (0.0, 1.0), (0.0, 1.0)),))
    text = page("<b>", [table(("#n", "<u>"), [(1, "<script>")]), figure(shown), facts({"a": "&"})])

    assert CONTENT_SECURITY_POLICY in text
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert figure_svg(shown) in text
    assert "http" not in text.replace("http-equiv", "")

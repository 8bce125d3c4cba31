"""Parts of the report: its sentence, numbers, drawings and colours."""

import re

import numpy as np
import pytest

from eval.references import NEUTRAL_PICTURE
from eval.report import charts
from eval.report.axes import CHAR_PX, LABEL_PX, Bar, Dot, Drawing, Path, Scale, Text, spread, ticks
from eval.report.context import short_names
from eval.report.numbers import number, percent
from eval.report.page import STYLE, _environment
from eval.report.sections import error_chart
from eval.report.verdict import verdict
from eval.table import AUS


def told(
    rate: tuple[float, float, float] | None = (0.99, 0.96, 1.0),
    gain: tuple[float, float, float] | None = (0.33, 0.3, 0.36),
    error: tuple[float, float] | None = (0.3, 0.4),
    reference: tuple[float, float] | None = None,
    p: float | None = 0.001,
) -> dict:
    """A headline's figures, as the verdict reads them."""
    nearer = dict(zip(("rate", "low", "high"), rate or (None,) * 3, strict=True))
    pairs = {"all": error or (None, None), "reference": reference or (None, None)}
    value = dict(zip(("value", "low", "high"), gain or (None,) * 3, strict=True))
    return {
        "alpha": None,
        "why": "",
        "counts": {"outputs": 100, "judged": 100, "no_face": 0, "targets": 4},
        "too_few": False,
        "identity": {"nearer": {"count": 99, "of": 100 if rate else 0, **nearer}},
        "expression": {
            "aus_read": list(AUS),
            "gain": value,
            "correlation": {"value": 0.5},
            "permutation_p": p,
            "error": {k: {"output": o, "no_transfer": n} for k, (o, n) in pairs.items()},
        },
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "The outputs keep the target's identity"),
        ({"rate": (0.7, 0.6, 0.8)}, "Most outputs keep the target's identity"),
        ({"rate": (0.5, 0.4, 0.6)}, "identity is undecided"),
        ({"rate": (0.2, 0.1, 0.3)}, "Most outputs look more like the source than like the target"),
        ({"rate": None}, "; identity was not measured."),
        ({}, "about a third of the expression arrives (gain 0.33, r 0.50)"),
        ({"gain": (1.0, 0.9, 1.1)}, "nearly all of the expression arrives"),
        ({"gain": (1.4, 1.3, 1.5)}, "the expression is overdone"),
        ({"gain": (0.1, -0.02, 0.2)}, "no expression can be shown to arrive"),
        ({"gain": (-0.3, -0.4, -0.2)}, "the AUs move the wrong way (gain −0.30"),
        ({"gain": (-0.01, -0.02, -0.005)}, "no expression can be shown to arrive"),
        ({"p": 0.17}, "p = 0.17: it could be chance"),
        ({"gain": None, "error": None}, "; expression was not measured."),
        ({}, "on all 17 AUs read the error is 25.0 % below doing nothing"),
        ({"error": (0.41, 0.4)}, "on all 17 AUs read it transfers no better than doing nothing"),
        ({"error": (0.39, 0.4)}, "on all 17 AUs read it is hardly better than doing nothing"),
        (
            {"error": (0.41, 0.4), "reference": (0.6, 0.8)},
            "though better on those that the expression shows (0.600 against 0.800)",
        ),
    ],
)
def test_verdict(given: dict, said: str) -> None:
    sentence = verdict(told(**given))
    assert said in sentence
    assert sentence.endswith(".") and sentence.count(". ") == 0


def test_a_verdict_says_of_which_alpha_it_is_and_calls_few_outputs_too_few() -> None:
    at = told() | {"alpha": 0.5, "why": "recommended"}
    assert verdict(at).startswith("At α 0.5 (recommended): the outputs keep")
    few = told() | {"too_few": True, "counts": {"outputs": 3, "judged": 1, "no_face": 2}}
    few["counts"]["targets"] = 1
    assert verdict(few) == (
        "Too few outputs to judge: 1 output of 1 person, and at least 8 of 2 people are needed; "
        "99 of 100 nearer to the target than to the source; gain 0.33, r 0.50; mean AU error 0.300 "
        "against 0.400 of doing nothing; no face was found in 2 of 3 outputs."
    )


def test_numbers() -> None:
    assert number(-0.004) == "0.00" and number(-0.33) == "−0.33"
    assert number(None) == number(float("nan")) == number(True) == "–"
    assert percent(217 / 220) == "98.6 %"
    assert short_names(["/a/smile.png", "/b/smile.png", "/b/x.png"]) == {
        "/a/smile.png": "/a/smile.png",
        "/b/smile.png": "/b/smile.png",
        "/b/x.png": "x",
    }


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.26, 0.51, [0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55])],
)
def test_ticks_are_round_and_enclose(low: float, high: float, wanted: list[float]) -> None:
    assert ticks(low, high) == wanted
    assert ticks(0.5, 0.5)[0] < 0.5 < ticks(0.5, 0.5)[-1]
    assert ticks(0.0, 0.0)[0] < 0 < ticks(0.0, 0.0)[-1]


def test_labels_keep_apart() -> None:
    placed = spread([100, 101, 99, 250, 238], 20, 240)
    assert np.diff(sorted(placed)).min() >= LABEL_PX and max(placed) == 240.0
    assert placed[2] < placed[0] < placed[1] < placed[4] < placed[3]
    assert Scale(0, 2, 100, 300)(1.5) == 250


def test_line_chart_draws_the_values() -> None:
    points, band = [(0.0, 1.0), (0.5, 3.0), (1.0, 2.0)], [(0.0, 0.5, 1.5), (1.0, 1.0, 4.0)]
    drawn = charts.line_chart([charts.Line("it", points, band)], "t", "x", "y", mark=(0.5, "m"))
    (x0, y0), (x1, y1), (x2, y2) = [(s.x, s.y) for s in drawn.shapes if isinstance(s, Dot)]
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.02)
    assert (y0 - y2) == pytest.approx(y2 - y1, abs=0.02) and y1 < y2 < y0  # up is more
    paths = [shape for shape in drawn.shapes if isinstance(shape, Path)]
    assert any(path.d.startswith(f"M{x1:.1f} 16V") for path in paths)  # the mark
    assert [path.style for path in paths].count("band1") == 1
    assert "it" in [shape.words for shape in drawn.shapes if isinstance(shape, Text)]


def test_bars_are_in_proportion_and_nan_draws_none() -> None:
    rows = [("AU1", (1.0, 2.0, float("nan"))), ("AU2", (0.0, 4.0, 5.0))]
    drawn = charts.bar_chart(rows, ("a", "b", "c"), "t", "x", 5.0)
    bars = [s for s in drawn.shapes if isinstance(s, Bar) and s.width != 14]  # 14: the legend's
    widths = {
        style: [bar.width for bar in bars if bar.style == style]
        for style in ("bar1", "bar2", "bar3")
    }
    full = 420 - 14 - 178
    assert widths["bar1"] == pytest.approx([full / 5, 0.0], abs=0.02)
    assert widths["bar2"] == pytest.approx([full * 2 / 5, full * 4 / 5], abs=0.02)
    assert widths["bar3"] == pytest.approx([full], abs=0.02)


def test_frontier_labels_do_not_touch() -> None:
    spots = [charts.Spot(0.3 + 1e-3 * i, 0.2 + 1e-3 * i, f"α {i}", i == 3) for i in range(40)]
    spots.append(charts.Spot(0.9, 0.9, "α far", False))
    drawn = charts.frontier_chart(spots, "t", "x", "y")
    labels = [s for s in drawn.shapes if isinstance(s, Text) and s.words.startswith("α ")]
    assert {"α 3", "α far"} <= {label.words for label in labels} and len(labels) < 41
    boxes = [(label.x, label.y, CHAR_PX * len(label.words)) for label in labels]
    for i, (x, y, wide) in enumerate(boxes):
        for other_x, other_y, other_wide in boxes[:i]:
            apart = x > other_x + other_wide or other_x > x + wide or abs(y - other_y) >= 10
            assert apart
    styles = [shape.style for shape in drawn.shapes]
    assert styles.count("fill1") == 1 and styles.count("hollow") == 40


def test_a_chart_is_drawn_as_svg_and_its_words_stay_text() -> None:
    shapes = [
        Path("M1 2H3", "grid"),
        Text("<b>", 1.0, 2.006, "quiet", "end"),
        Text("up", 13, 20, anchor="middle", turned=True),
        Dot(1.234, 2, 3.5, "fill1", "a & b"),
        Bar(0, 0, 5, 2, "bar1", '"q"'),
    ]
    template = _environment().from_string(
        '{% from "chart.html" import chart %}{{ chart(drawing) }}'
    )
    assert template.render(drawing=Drawing("t<", shapes, 50)).split("\n") == [
        '<svg viewBox="0 0 420 50" role="img" class="chart"><title>t&lt;</title>',
        '<path d="M1 2H3" class="grid"></path>',
        '<text x="1.00" y="2.01" text-anchor="end" class="quiet">&lt;b&gt;</text>',
        '<text transform="translate(13.00 20.00) rotate(-90)" text-anchor="middle">up</text>',
        '<circle cx="1.23" cy="2.00" r="3.50" class="fill1"><title>a &amp; b</title></circle>',
        '<rect x="0.00" y="0.00" width="5.00" height="2.00" class="bar1">'
        "<title>&#34;q&#34;</title></rect>",
        "</svg>",
    ]


def test_equal_levels_of_no_transfer_are_one_line_and_others_are_told_apart() -> None:
    def labels(shown: float | None, every: float | None) -> list[str]:
        part = {"all": {"no_transfer": every}, "reference": {"no_transfer": shown}}
        rows = [{"alpha": a, "error": {"all": 0.2, "reference": 0.4}} for a in (0.5, 1.0)]
        figures = {
            "counts": {"judged": 2, "alphas": [0.5, 1.0]},
            "recommended_alpha": {"alpha": None},
            "expression": {"by_alpha": rows, "error": part},
        }
        drawing = error_chart(figures, NEUTRAL_PICTURE).drawing
        assert drawing is not None and "the target's neutral picture itself" in drawing.title
        words = [shape.words for shape in drawing.shapes if isinstance(shape, Text)]
        return [text for text in words if text.startswith("no transfer")]

    assert labels(0.8, 0.3) == ["no transfer, shown", "no transfer, all"]
    assert labels(0.3, 0.3) == ["no transfer"]
    assert labels(None, 0.3) == ["no transfer, all"] and labels(None, None) == []


def _luminance(rgb: np.ndarray) -> float:
    """WCAG's relative luminance of sRGB in 0-1."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_colours_contrast(scheme: str) -> None:
    style = STYLE.read_text()
    part = {
        "light": 0,
        "dark": style.index("@media (prefers"),
        "print": style.index("@media print"),
    }
    block = style[part[scheme] :].split(":root {", 1)[1].split("}", 1)[0]
    values = dict(re.findall(r"--(\w+): ([^;]+);", block))
    colour = {
        key: np.array([int(value[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        for key, value in values.items()
        if value.startswith("#")
    }
    reach = float(values["reach"])

    def contrast(a: np.ndarray, b: np.ndarray) -> float:
        low, high = sorted((_luminance(a), _luminance(b)))
        return (high + 0.05) / (low + 0.05)

    assert contrast(colour["ink"], colour["paper"]) >= 7
    for key in ("quiet", "one", "two"):
        assert contrast(colour[key], colour["paper"]) >= 4.5, key
        assert contrast(colour[key], colour["card"]) >= 4.5, key
    assert contrast(colour["three"], colour["paper"]) >= 3  # lines and bars, not text
    for key in ("heat", "worse"):  # text on the strongest cell
        cell = reach * colour[key] + (1 - reach) * colour["paper"]
        assert contrast(colour["ink"], cell) >= 4.5, key

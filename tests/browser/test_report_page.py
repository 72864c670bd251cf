"""The report's page, as a browser shows it from the disk."""

import shutil

import numpy as np
import pandas as pd
import pytest

from analysis.evidence.claims import Verdict
from analysis.findings.report_texts import PaperTable, Statement
from analysis.report.document import Document, MissingPlate, Section
from analysis.report.files import write_report
from analysis.subjects.canvas import new_figure
from analysis.subjects.plate import Plate
from trainable.data.image_set import LabelClass

HOSTILE = "</style></script><script>window.struck = 1</script><img src='https://example.org/x' onerror='alert(1)'>"
LONG = "a_class_whose_name_somebody_made_far_longer_than_any_screen_is_wide_and_without_a_single_space"
CLASSES = (LabelClass("road", (128, 128, 0), False), LabelClass(LONG, (192, 0, 31), True))


def bars(palette):
    figure = new_figure(7.5, 3)
    figure.subplots().bar([0, 1], [0.75, 0.1], color=palette.floats(CLASSES))
    return figure


def photographs(palette):
    figure = new_figure(7.5, 3)
    figure.subplots().imshow(np.random.default_rng(0).random((60, 90, 3)))
    return figure


def plate(key, draw=bars, **changes):
    table = pd.DataFrame({"class": ["road", LONG], "share": [0.75, 0.1]})
    fields = {"title": f"Title of {key}", "shows": "Each bar is a class.", "says": "Few.", "alt": f"Alt of {key}."}
    return Plate(key=key, draw=draw, table=table, **(fields | changes))


def broken(palette):
    raise ZeroDivisionError(HOSTILE)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A small report of everything that a page can hold."""
    columns = ["mIoU", *(f"IoU {name}" for name in ("person", "bike", LONG)), "verdict"]
    cells = pd.DataFrame([["0.60 ± 0.01"] * 4 + [HOSTILE]] * 3, index=["CE", HOSTILE, LONG], columns=columns)
    document = Document(
        title=f"made: 3 trials {HOSTILE}",
        facts=[("Data set", LONG), ("Tracking", "sqlite:////" + "folder/" * 20), ("Trials", "3")],
        statements=[*(Statement(f"It is {v}. {LONG}", v, "Reasons.") for v in Verdict), Statement("A fact.")],
        claims=pd.DataFrame({"metric": [LONG], "why": [HOSTILE]}),
        notes=[HOSTILE, LONG],
        command="aerosweep confirm " + "runs/" * 30,
        command_why="It would tell.",
        table=PaperTable(caption=f"Means of {LONG}.", cells=cells, latex="\\toprule " * 30, numbers=cells),
        method=f"We searched {LONG}.",
        sections=[
            Section("data", "The data", "What is learned from.", [plate("bars", shows_classes=True), plate("plain")]),
            Section("cases", f"Cases {LONG}", HOSTILE, [
                plate("photographs", photographs, photographs=True, shows_classes=True, title=HOSTILE, alt=HOSTILE),
                MissingPlate("Landscape", f"It takes six trials; {LONG}"),
                plate("broken", broken, title=LONG),
            ]),
        ],
    )  # fmt: skip
    return write_report(document, tmp_path_factory.mktemp("report"), "svg")


def shown(page, selector="figure img"):
    """Which of the elements are seen, in order."""
    return page.eval_on_selector_all(selector, "elements => elements.map(e => e.checkVisibility())")


FAINT = """() => {
  const channels = color => (color.match(/[\\d.]+/g) || []).map(Number);
  const luminance = rgb => rgb.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const backdrop = element => {
    for (let e = element; e; e = e.parentElement) {
      const color = channels(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = [], faint = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const [a, b] = [channels(getComputedStyle(element).color), backdrop(element)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    seen.push(ratio);
    if (ratio < 4.5) faint.push([walker.currentNode.data, ratio]);
  }
  return [seen.length, faint];
}"""
"""How many texts are seen, and those whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3)."""


def test_every_figure_has_loaded_and_can_be_read_aloud(report, visit):
    page = visit(report)
    assert page.locator("figure").evaluate_all("all => all.map(f => f.id)") == ["bars", "plain", "photographs"]
    images = page.eval_on_selector_all("img", "all => all.map(i => [i.naturalWidth, i.naturalHeight, i.alt])")
    assert [(width, height) for width, height, _ in images] == [(1462, 585)] * 3 + [(975, 390)] * 2
    assert [alt for *_, alt in images] == ["Alt of bars."] * 2 + ["Alt of plain."] + [HOSTILE] * 2


def test_what_is_hostile_is_text(report, visit):
    page = visit(report)
    assert page.evaluate("window.struck") is None
    assert page.title() == f"made: 3 trials {HOSTILE}"
    assert HOSTILE in page.inner_text(".notes")
    assert f"ZeroDivisionError: {HOSTILE}" in page.inner_text(".absence:last-child")


def test_an_injected_script_would_not_run_and_nothing_could_be_fetched(report, browser, tmp_path):
    """The page's policy is the second wall behind the escaping."""
    struck = report.read_text().replace(
        "<footer>", "<script>window.struck = 1</script><img src='https://example.org/x'>"
    )
    (tmp_path / "struck.html").write_text(struck)
    context = browser.new_context()
    asked = []
    context.route("https://**", lambda route: asked.append(route.request.url) or route.abort())
    page = context.new_page()
    page.goto((tmp_path / "struck.html").as_uri())
    assert page.evaluate("window.struck") is None
    assert asked == []
    context.close()


def test_the_page_alone_keeps_figures_and_numbers(report, visit, tmp_path):
    alone = tmp_path / "passed on" / "report.html"
    alone.parent.mkdir()
    shutil.copy(report, alone)
    page = visit(alone)
    assert all(page.eval_on_selector_all("img", "all => all.map(i => i.naturalWidth > 0)"))
    with page.expect_download() as download:
        page.click("#bars >> text=Numbers")
    assert download.value.suggested_filename == "bars.csv"
    assert download.value.path().read_bytes() == (report.parent / "figures/bars.csv").read_bytes()


class TestPalette:
    CLASS_COLORS, SAFE = [True, False, True, True, False], [False, True, True, False, True]

    @pytest.mark.parametrize("scripted", [True, False])
    def test_the_choice_switches_all_figures_with_class_colors(self, report, visit, scripted):
        page = visit(report, java_script_enabled=scripted)
        assert shown(page) == self.CLASS_COLORS
        page.click("text=colour-blind-safe")
        assert shown(page) == self.SAFE
        page.click("text=as in the data set")
        assert shown(page) == self.CLASS_COLORS

    def test_the_keyboard_reaches_it(self, report, visit):
        page = visit(report)
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "palette-classes":
                break
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("ArrowDown")
        assert shown(page) == self.SAFE

    def test_print_shows_what_is_chosen(self, report, visit):
        page = visit(report)
        page.check("#palette-safe")
        page.emulate_media(media="print")
        assert shown(page) == self.SAFE

    def test_it_stays_in_sight_beside_the_figures(self, report, visit):
        page = visit(report, "#photographs")
        for selector in ("#palette-safe", "nav", "#photographs h3"):
            top = page.locator(selector).bounding_box()["y"]
            assert 0 <= top < 900, selector


class TestNarrow:
    @pytest.mark.parametrize("width", [320, 360, 768, 1119, 1120, 1280, 2000])
    def test_the_page_does_not_scroll_sideways(self, report, visit, width):
        page = visit(report, viewport={"width": width, "height": 800})
        page.eval_on_selector_all("details", "all => all.forEach(d => { d.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        right_ends = page.eval_on_selector_all("p, li, h1, h2, h3, figure img, pre, dd, button", """all => all
            .filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect().right)""")  # fmt: skip
        assert max(right_ends) <= width

    def test_the_table_scrolls_in_its_own_box_under_its_row_names(self, report, visit):
        page = visit(report, viewport={"width": 360, "height": 800})
        inner, outer = page.eval_on_selector(".scrolls", "box => [box.scrollWidth, box.clientWidth]")
        assert inner > outer
        page.eval_on_selector(".scrolls", "box => { box.scrollLeft = 200; }")
        left = page.locator(".scrolls").bounding_box()["x"]
        assert page.locator("tbody th").first.bounding_box()["x"] == left

    def test_a_figure_fills_the_width_and_keeps_its_shape(self, report, visit):
        page = visit(report, viewport={"width": 360, "height": 800})
        box = page.locator("#plain img").bounding_box()
        assert box["width"] == 360 - 32
        assert box["width"] / box["height"] == pytest.approx(7.5 / 3, rel=0.01)


class TestPrint:
    def test_what_cannot_be_used_on_paper_is_left_out(self, report, visit):
        page = visit(report)
        page.emulate_media(media="print")
        for selector in (".palettes", "nav", "button.copy", ".links", "details", "footer"):
            assert not any(shown(page, selector)), selector
        assert all(shown(page, "h1, .badge, table, figcaption, .absence"))

    def test_it_prints(self, report, visit):
        assert visit(report).pdf(format="A4").startswith(b"%PDF")


class TestContrast:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("media", ["screen", "print"])
    def test_every_text_stands_out(self, report, visit, scheme, media):
        page = visit(report, color_scheme=scheme)
        page.emulate_media(media=media, color_scheme=scheme)
        page.eval_on_selector_all("details", "all => all.forEach(d => { d.open = true; })")
        seen, faint = page.evaluate(FAINT)
        assert seen > 50
        assert faint == []
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        # Not even a browser that darkens all pages by itself may invert the figures.
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light only"


class TestCopy:
    def test_a_button_copies(self, report, visit):
        page = visit(report, permissions=["clipboard-read", "clipboard-write"])
        page.click("button.copy >> nth=0")
        page.wait_for_selector("button.copy:has-text('Copied')")
        assert page.evaluate("navigator.clipboard.readText()") == "aerosweep confirm " + "runs/" * 30

    def test_where_the_clipboard_is_closed_the_text_is_selected(self, report, visit):
        page = visit(report)
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('closed')); }")
        page.click("button.copy >> nth=0")
        page.wait_for_selector("button.copy:has-text('Selected')")
        assert page.evaluate("getSelection().toString()") == "aerosweep confirm " + "runs/" * 30

    def test_without_scripts_there_is_no_button(self, report, visit):
        assert not any(shown(visit(report, java_script_enabled=False), "button.copy"))

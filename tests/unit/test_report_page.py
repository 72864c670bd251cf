import base64
import hashlib
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from analysis.evidence.claims import Verdict
from analysis.findings.report_texts import PaperTable, Statement
from analysis.report.document import Document, MissingPlate, Section
from analysis.report.page import LARGEST_EMBEDDED_CSV, PageFigure, render_page
from analysis.report.raster import EmbeddedImage

HOSTILE = "</style></script><script>alert('x')</script><img src=x onerror=alert(1)> \" & {{ 7 * 7 }}"
VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """Elements in order: tag, attributes, text directly in it; complains of tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append({"tag": tag, "text": "", **dict(attrs)})
        if tag not in VOID and tag not in ("path",):
            self._open.append((tag, self.elements[-1]))

    def handle_startendtag(self, tag, attrs):
        self.elements.append({"tag": tag, "text": "", **dict(attrs)})

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        for _, element in self._open:
            element["text"] += data

    def all(self, tag, **attributes):
        wanted = attributes.items()
        return [e for e in self.elements if e["tag"] == tag and all(e.get(k.rstrip("_")) == v for k, v in wanted)]


def image(palette="classes"):
    return EmbeddedImage("image/png", f"<{palette}>".encode(), 960, 512)


def figure(key="bars", **changes):
    fields = {
        "title": "Bars", "shows": "Each bar is a class.", "says": "Persons cover 0.4 %.", "alt": "A bar chart.",
        "images": {"classes": image()}, "csv": f"figures/{key}.csv", "csv_bytes": b"class,share\n",
    }  # fmt: skip
    return PageFigure(key=key, **(fields | changes))


def colored(key="colored"):
    return figure(key, images={"classes": image(), "safe": image("safe")})


def make(*places, claims_csv=None, table_csv=None, intro="", **fields):
    sections = (Section("data", "The data", intro, ()),) if places else ()
    document = Document(**({"title": "made", "facts": ()} | fields), sections=sections)
    text = render_page(document, [places] if places else [], claims_csv=claims_csv, table_csv=table_csv)
    return Page(text), text


def table(cells=None):
    if cells is None:
        cells = pd.DataFrame({"mIoU": ["0.60", "0.64"], "vs.": ["none", "supported"]}, index=["CE", "Tversky"])
    return PaperTable(caption="Means of 3 seeds.", cells=cells, latex="a & b \\\\", numbers=pd.DataFrame())


class TestSelfContained:
    def test_a_policy_forbids_all_that_is_not_in_the_page(self):
        page, text = make(figure())
        (policy,) = [e["content"] for e in page.all("meta") if e.get("http-equiv") == "Content-Security-Policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["img-src"] == "data:"
        for tag, rule in (("style", "style-src"), ("script", "script-src")):
            source = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
            digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
            assert rules[rule] == f"'sha256-{digest}'"

    def test_nothing_is_fetched(self):
        page, text = make(figure(), colored(), command="aerosweep confirm x")
        assert not page.all("link")
        assert "http://" not in text
        assert "https://" not in text
        assert "url(" not in text
        assert all(e["src"].startswith("data:") for e in page.all("img"))

    def test_images_are_the_bytes_given_at_their_size(self):
        (img,) = make(figure())[0].all("img")
        assert img["src"] == "data:image/png;base64," + base64.b64encode(b"<classes>").decode()
        assert (img["width"], img["height"], img["alt"]) == ("960", "512", "A bar chart.")

    def test_numbers_can_be_saved_from_the_page_alone(self):
        (link,) = make(figure())[0].all("a", download="bars.csv")
        assert link["href"] == "data:text/csv;charset=utf-8;base64," + base64.b64encode(b"class,share\n").decode()

    @pytest.mark.parametrize(("size", "embedded"), [(LARGEST_EMBEDDED_CSV, True), (LARGEST_EMBEDDED_CSV + 1, False)])
    def test_large_numbers_are_named_by_their_file(self, size, embedded):
        page, _ = make(figure(csv_bytes=b"x" * size))
        assert bool(page.all("a", download="bars.csv")) == embedded
        named = [e["text"] for e in page.all("span") if "CSV" in e["text"]]
        assert named == ([] if embedded else ["Numbers (CSV): figures/bars.csv in the report's folder"])

    def test_no_link_leads_out_of_the_page(self):
        """Passed on, or in MLflow, it has no folder beside it."""
        page, _ = make(colored(), figure("large", csv_bytes=b"x" * (LARGEST_EMBEDDED_CSV + 1)))
        links = [e["href"] for e in page.all("a")]
        assert len(links) > 4
        assert all(link.startswith(("#", "data:")) for link in links)

    def test_the_same_document_makes_the_same_page(self):
        assert make(figure(), colored())[1] == make(figure(), colored())[1]


class TestEscaping:
    def test_no_text_becomes_markup(self):
        hostile = figure(title=HOSTILE, shows=HOSTILE, says=HOSTILE, alt=HOSTILE)
        cells = pd.DataFrame({HOSTILE: [HOSTILE]}, index=pd.Index([HOSTILE], name=HOSTILE))
        page, text = make(
            hostile, MissingPlate(HOSTILE, HOSTILE), intro=HOSTILE, title=HOSTILE, facts=[(HOSTILE, HOSTILE)],
            statements=[Statement(HOSTILE, Verdict.SUPPORTED, HOSTILE)], notes=[HOSTILE], command=HOSTILE,
            command_why=HOSTILE, method=HOSTILE, claims_csv=HOSTILE.encode(), table_csv=HOSTILE.encode(),
            table=PaperTable(caption=HOSTILE, cells=cells, latex=HOSTILE, numbers=cells),
        )  # fmt: skip
        assert len(page.all("script")) == len(page.all("style")) == len(page.all("img")) == 1
        assert not [e for e in page.elements if any(name.startswith("on") for name in e)]
        assert text.count("alert(") == text.count("alert(&#39;x&#39;)") + text.count("onerror=alert(1)&gt;") > 30
        assert "{{ 7 * 7 }}" in text  # no template of a template
        assert page.all("title")[0]["text"] == HOSTILE
        assert page.all("img")[0]["alt"] == HOSTILE
        assert [e["text"] for e in page.all("td")] == [HOSTILE]


class TestFirstScreen:
    def test_each_verdict_is_told_by_word_symbol_and_color(self):
        statements = [Statement(f"Claim {verdict}.", verdict, "Reason.") for verdict in Verdict]
        page, _ = make(statements=[*statements, Statement("A fact.")])
        badges = [e for e in page.all("span") if e.get("class", "").startswith("badge")]
        assert [badge["text"].strip() for badge in badges] == ["supported", "not supported", "cannot be told"]
        assert [badge["class"].split()[1] for badge in badges] == ["supported", "not-supported", "cannot-be-told"]
        symbols = [path["d"] for path in page.all("path")]
        assert len(set(symbols)) == 3
        assert [e["text"].split() for e in page.all("li", class_="plain")] == [["A", "fact."]]
        assert "What the verdicts mean" in [e["text"] for e in page.all("summary")]

    def test_verdicts_are_explained_only_where_there_are_some(self):
        assert not make(statements=[Statement("A fact.")])[0].all("summary")

    def test_the_claims_are_linked_below_the_statements_they_are_of(self):
        page, _ = make(statements=[Statement("Claim.", Verdict.SUPPORTED)], claims_csv=b"metric\nmiou\n")
        (link,) = page.all("a", download="claims.csv")
        assert base64.b64decode(link["href"].partition("base64,")[2]) == b"metric\nmiou\n"
        assert not make(statements=[Statement("A fact.")])[0].all("a")

    def test_what_a_document_lacks_has_no_heading(self):
        page, _ = make()
        assert [e["text"] for e in page.all("h1")] == ["made"]
        for tag in ("h2", "dl", "table", "nav", "fieldset", "button"):
            assert not page.all(tag), tag

    def test_facts_notes_and_method(self):
        page, _ = make(facts=[("Trials", "60")], notes=["Boats are few."], method="We searched.")
        assert [(e["text"]) for e in (*page.all("dt"), *page.all("dd"))] == ["Trials", "60"]
        assert [e["text"] for e in page.all("h2")] == ["Before you quote this", "Method"]
        assert [e["text"] for e in page.all("li")] == ["Boats are few."]

    def test_command_and_latex_have_a_button_that_copies_them(self):
        page, _ = make(
            command="aerosweep confirm runs/x", command_why="It would tell.", table=table(), table_csv=b"n\n"
        )
        copied = {e["data-copies"] for e in page.all("button")}
        assert {page.all("code", id=name)[0]["text"] for name in copied} == {"aerosweep confirm runs/x", "a & b \\\\"}
        assert all("hidden" in e for e in page.all("button"))  # until a script can copy

    def test_the_table_names_its_columns_and_rows(self):
        page, _ = make(table=table(), table_csv=b"n\n")
        assert [e["text"] for e in page.all("th", scope="col")] == ["", "mIoU", "vs."]
        assert [e["text"] for e in page.all("th", scope="row")] == ["CE", "Tversky"]
        assert [(e["text"], e.get("class")) for e in page.all("td")] == [
            ("0.60", "numeric"), ("none", None), ("0.64", "numeric"), ("supported", None),
        ]  # fmt: skip
        assert page.all("a", download="table.csv")

    def test_an_index_that_only_counts_is_not_shown(self):
        cells = pd.DataFrame({"loss": ["dice"], ("mIoU", "val"): [None]})
        page, _ = make(table=table(cells), table_csv=b"")
        assert [e["text"] for e in page.all("th")] == ["loss", "mIoU val", "dice"]
        assert [e["text"] for e in page.all("td")] == [""]

    def test_an_empty_table_is_its_header(self):
        page, _ = make(table=table(pd.DataFrame(columns=["loss", "mIoU"])), table_csv=b"")
        assert [e["text"] for e in page.all("th")] == ["loss", "mIoU"]


class TestFigures:
    def test_a_figure_has_its_key_as_anchor_its_number_and_its_caption(self):
        page, _ = make(figure("one"), MissingPlate("Landscape", "Three trials; it takes six."), figure("two", says=""))
        assert [e["id"] for e in page.all("figure")] == ["one", "two"]
        assert [e["text"] for e in page.all("h3")] == ["Figure 1. Bars", "Landscape", "Figure 2. Bars"]
        assert [e["text"] for e in page.all("p", class_="says")] == ["In these data: Persons cover 0.4 %."]
        assert len(page.all("figcaption")) == 2
        assert "Not made. Three trials; it takes six." in [e["text"] for e in page.all("p")]

    def test_contents_link_to_all_that_exists_and_name_what_does_not(self):
        page, _ = make(figure("one"), MissingPlate("Landscape", "why"))
        ids = [e["id"] for e in page.elements if "id" in e]
        assert len(ids) == len(set(ids))
        links = [e["href"][1:] for e in page.all("a") if e["href"].startswith("#")]
        assert set(links) <= set(ids)
        assert {"section-data", "one"} <= set(links)
        assert [e["text"] for e in page.all("li", class_="absent")] == ["Landscape (not made)"]

    def test_labels_refer_to_what_exists(self):
        page, _ = make(colored(), statements=[Statement("x", Verdict.SUPPORTED)], table=table(), table_csv=b"",
                       notes=["n"], command="c", method="m")  # fmt: skip
        ids = {e["id"] for e in page.elements if "id" in e}
        named = [e[name] for e in page.elements for name in ("aria-labelledby", "aria-describedby") if name in e]
        assert len(named) > 7
        assert set(named) <= ids

    def test_the_palette_can_be_chosen_where_a_figure_has_two(self):
        page, _ = make(colored(), figure("plain"))
        assert [e["id"] for e in page.all("input", type="radio")] == ["palette-classes", "palette-safe"]
        assert [e["class"] for e in page.all("img")] == ["in-classes", "in-safe", ""]
        assert not make(figure())[0].all("input")

    def test_places_must_fit_the_sections(self):
        with pytest.raises(ValueError, match="zip"):
            render_page(Document(title="x", facts=(), sections=(Section("a", "A", "", ()),)), [])

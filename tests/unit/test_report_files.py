import hashlib
import io
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from analysis.evidence.claims import Verdict
from analysis.findings.report_texts import PaperTable, Statement
from analysis.report import raster
from analysis.report.document import Document, MissingPlate, Section
from analysis.report.files import write_report
from analysis.report.raster import LARGE, embedded_image, with_palette
from analysis.report.rendered import check_keys, table_bytes, utf8
from analysis.subjects.canvas import new_figure
from analysis.subjects.palette import CLASS_COLORS, SAFE_COLORS
from analysis.subjects.plate import Plate, Unavailable
from trainable.data.image_set import LabelClass
from trainable.record.storage import StorageError

CLASSES = (LabelClass("road", (128, 128, 0), False), LabelClass("person", (192, 0, 31), True))
TABLE = pd.DataFrame({"class": ["road", "person"], "share": [0.75, 0.001], "run_id": ["a1", "b2"]})


def bars(palette):
    figure = new_figure(3, 2)
    figure.subplots().bar(["road", "person"], [0.75, 0.1], color=palette.floats(CLASSES))
    return figure


def plate(key="bars", draw=bars, **changes):
    fields = {"title": key.title(), "shows": "Bars.", "says": "", "alt": "Bars.", "table": TABLE}
    return Plate(key=key, draw=draw, **(fields | changes))


def document(*plates, **more):
    return Document(title="made", facts=(), sections=(Section("all", "All", "", plates),), **more)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def failing(error):
    def draw(palette):
        raise error

    return draw


class TestWhatIsWritten:
    @pytest.mark.parametrize(("image_format", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
    def test_every_figure_has_its_file_and_its_numbers(self, tmp_path, image_format, magic):
        page = write_report(document(plate(), plate("colored", shows_classes=True)), tmp_path / "new", image_format)
        assert page == tmp_path / "new" / "report.html"
        assert names(tmp_path / "new") == [
            "figures/bars.csv",
            f"figures/bars.{image_format}",
            "figures/colored.csv",
            f"figures/colored.{image_format}",
            f"figures/colored_safe.{image_format}",
            "manifest.json",
            "report.html",
        ]
        for path in (tmp_path / "new" / "figures").glob(f"*.{image_format}"):
            assert path.read_bytes().startswith(magic)
        assert (tmp_path / "new/figures/bars.csv").read_text() == "class,share,run_id\nroad,0.75,a1\nperson,0.001,b2\n"

    def test_a_figure_is_drawn_in_the_palette_of_its_file(self, tmp_path):
        write_report(document(plate(shows_classes=True)), tmp_path, "png")
        for name, palette in (("bars", CLASS_COLORS), ("bars_safe", SAFE_COLORS)):
            pixels = np.asarray(Image.open(tmp_path / f"figures/{name}.png").convert("RGB"))
            for color in palette.of_classes(CLASSES):
                assert (pixels == color).all(axis=2).sum() > 1000

    def test_a_figure_without_class_colors_is_drawn_once_in_the_data_sets_own(self, tmp_path):
        palettes = []
        write_report(document(plate(draw=lambda palette: palettes.append(palette) or bars(palette))), tmp_path)
        assert palettes == [CLASS_COLORS]

    def test_the_paper_table_has_its_latex_and_its_numbers_beside_the_page(self, tmp_path):
        table = PaperTable(caption="Scores.", cells=TABLE.astype(str), latex="\\toprule\n", numbers=TABLE)
        write_report(document(table=table), tmp_path)
        assert names(tmp_path) == ["manifest.json", "report.html", "table.csv", "table.tex"]
        assert (tmp_path / "table.tex").read_text() == "\\toprule\n"
        assert (tmp_path / "table.csv").read_text() == "class,share,run_id\nroad,0.75,a1\nperson,0.001,b2\n"

    def test_the_claims_are_a_file_beside_the_page_as_long_as_there_are_some(self, tmp_path):
        page = write_report(document(claims=TABLE, statements=[Statement("Claim.", Verdict.SUPPORTED)]), tmp_path)
        assert (tmp_path / "claims.csv").read_text() == "class,share,run_id\nroad,0.75,a1\nperson,0.001,b2\n"
        assert 'download="claims.csv"' in page.read_text()
        write_report(document(), tmp_path)
        assert names(tmp_path) == ["manifest.json", "report.html"]

    @pytest.mark.parametrize("image_format", ["png", "svg", "pdf"])
    def test_the_same_document_makes_the_same_files(self, tmp_path, image_format):
        for name in ("one", "other"):
            write_report(document(plate()), tmp_path / name, image_format)
        for name in names(tmp_path / "one"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name

    def test_progress_is_told_of_each_figure(self, tmp_path):
        told = []
        places = (plate("first"), MissingPlate("None", "why"), plate("second", failing(ValueError("x"))))
        write_report(document(*places), tmp_path, on_progress=lambda *step: told.append(step))
        assert told == [(1, 2), (2, 2)]

    def test_an_unknown_format_is_refused_before_anything_is_written(self, tmp_path):
        with pytest.raises(ValueError, match="must be one of png, svg, pdf; got 'jpeg'"):
            write_report(document(plate()), tmp_path / "new", "jpeg")
        assert not (tmp_path / "new").exists()

    def test_a_report_of_nothing_is_a_page(self, tmp_path):
        write_report(Document(title="none", facts=()), tmp_path)
        assert names(tmp_path) == ["manifest.json", "report.html"]

    def test_a_named_index_is_written_and_a_counting_one_is_not(self):
        by_epoch = pd.DataFrame({"miou": [0.5]}, index=pd.Index([1], name="epoch"))
        assert table_bytes(by_epoch) == b"epoch,miou\n1,0.5\n"
        assert table_bytes(by_epoch.reset_index(drop=True)) == b"miou\n0.5\n"

    def test_what_has_no_encoding_shows_as_an_escape(self):
        assert utf8("Bäume \udcff") == "Bäume \\udcff".encode()


class TestFigureThatCannotBeDrawn:
    def test_what_is_unavailable_says_so_and_is_no_error(self, tmp_path, caplog):
        page = write_report(
            document(plate("gone", failing(Unavailable("two trials, it takes six"))), plate()), tmp_path
        )
        assert "two trials, it takes six" in page.read_text()
        assert names(tmp_path) == ["figures/bars.csv", "figures/bars.png", "manifest.json", "report.html"]
        assert not caplog.records

    def test_an_error_costs_its_own_place_and_is_logged(self, tmp_path, caplog):
        with caplog.at_level(logging.ERROR):
            page = write_report(document(plate("bad", failing(ZeroDivisionError("by 0"))), plate()), tmp_path)
        text = page.read_text()
        assert "ZeroDivisionError: by 0" in text
        assert "please report it" in text
        assert (tmp_path / "figures/bars.png").exists()
        assert "Traceback" in caplog.text
        assert "'bad'" in caplog.text

    def test_an_error_in_the_second_palette_leaves_no_half_of_a_figure(self, tmp_path):
        def draw(palette):
            return bars(palette) if palette == CLASS_COLORS else failing(KeyError("safe"))(palette)

        write_report(document(plate("half", draw, shows_classes=True)), tmp_path)
        assert names(tmp_path) == ["manifest.json", "report.html"]

    def test_no_image_is_kept_once_it_is_drawn(self, tmp_path):
        figures = []
        write_report(document(plate(draw=lambda palette: figures.append(bars(palette)) or figures[-1])), tmp_path)
        assert [figure.axes for figure in figures] == [[]]

    def test_the_users_own_settings_of_matplotlib_stay(self, tmp_path):
        import matplotlib as mpl

        with mpl.rc_context({"font.size": 17, "svg.hashsalt": "mine"}):
            write_report(document(plate()), tmp_path)
            assert (mpl.rcParams["font.size"], mpl.rcParams["svg.hashsalt"]) == (17, "mine")


class TestKeys:
    @pytest.mark.parametrize("key", ["", "../outside", "a/b", "a b", ".hidden", 'x" onload="y', "a" * 121, "é"])
    def test_a_key_that_cannot_name_a_file_costs_its_figure(self, tmp_path, key):
        page = write_report(document(plate(key), plate("good")), tmp_path / "report")
        assert "letters, digits, dashes and underscores" in page.read_text()
        assert names(tmp_path) == [f"report/{n}" for n in ("figures/good.csv", "figures/good.png", "manifest.json", "report.html")]  # fmt: skip  # noqa: E501

    def test_the_first_of_two_equal_keys_is_drawn(self, tmp_path):
        same = plate()
        page = write_report(document(same, same), tmp_path)
        assert page.read_text().count("<figure") == 1
        assert "&#39;bars&#39; names files twice" in page.read_text()

    def test_keys_are_told_apart_without_case_and_by_all_their_files(self):
        plates = [plate("a", shows_classes=True), plate("A"), plate("a_safe"), plate("b_safe"), plate("b")]
        assert sorted(check_keys(plates)) == [1, 2]


class TestEarlierReport:
    def test_what_is_no_longer_made_is_removed_and_what_is_not_ours_stays(self, tmp_path):
        write_report(document(plate("old", shows_classes=True), plate("kept")), tmp_path, "svg")
        (tmp_path / "notes.txt").write_text("mine")
        (tmp_path / "figures" / "mine.svg").write_text("mine")
        write_report(document(plate("kept")), tmp_path, "png")
        assert names(tmp_path) == [
            "figures/kept.csv",
            "figures/kept.png",
            "figures/mine.svg",
            "manifest.json",
            "notes.txt",
            "report.html",
        ]

    def test_a_file_that_somebody_changed_is_theirs(self, tmp_path):
        write_report(document(plate("old")), tmp_path, "svg")
        (tmp_path / "figures/old.svg").write_text("annotated")
        write_report(document(), tmp_path)
        assert names(tmp_path) == ["figures/old.svg", "manifest.json", "report.html"]
        write_report(document(), tmp_path)
        assert (tmp_path / "figures/old.svg").read_text() == "annotated"

    def test_a_manifest_cannot_name_what_a_report_never_writes(self, tmp_path):
        outside, inside = tmp_path / "precious.png", tmp_path / "report" / "data" / "precious.png"
        inside.parent.mkdir(parents=True)
        for path in (outside, inside):
            path.write_bytes(b"x")
        digest = hashlib.sha256(b"x").hexdigest()
        listed = ["../precious.png", "figures/../../precious.png", str(outside), "data/precious.png"]
        (tmp_path / "report/manifest.json").write_text(json.dumps({"files": dict.fromkeys(listed, digest)}))
        write_report(document(), tmp_path / "report")
        assert outside.exists()
        assert inside.exists()

    @pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"files": 3}', b"\xff\xfe", b"3"])
    def test_a_damaged_manifest_removes_nothing(self, tmp_path, caplog, content):
        write_report(document(plate("old")), tmp_path)
        (tmp_path / "manifest.json").write_bytes(content)
        write_report(document(), tmp_path)
        assert (tmp_path / "figures/old.png").exists()
        assert "manifest.json is damaged" in caplog.text

    def test_an_interrupted_report_leaves_the_earlier_page_and_is_cleaned_up_by_the_next(self, tmp_path):
        write_report(document(plate("old")), tmp_path)
        before = (tmp_path / "report.html").read_bytes()
        with pytest.raises(KeyboardInterrupt):
            write_report(document(plate("fresh"), plate("stopped", failing(KeyboardInterrupt()))), tmp_path)
        assert (tmp_path / "report.html").read_bytes() == before
        assert {"figures/old.png", "figures/fresh.png"} < set(names(tmp_path))
        write_report(document(plate("old")), tmp_path)
        assert names(tmp_path) == ["figures/old.csv", "figures/old.png", "manifest.json", "report.html"]

    def test_a_first_report_that_is_interrupted_leaves_no_page(self, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            write_report(document(plate("stopped", failing(KeyboardInterrupt()))), tmp_path)
        assert not (tmp_path / "report.html").exists()

    def test_parts_of_a_report_that_was_killed_are_removed(self, tmp_path):
        (tmp_path / "figures").mkdir()
        for name in (".writing-0a", "figures/.writing-0b"):
            (tmp_path / name).write_text("<ht")
        write_report(document(plate()), tmp_path)
        assert names(tmp_path) == ["figures/bars.csv", "figures/bars.png", "manifest.json", "report.html"]

    def test_a_file_that_cannot_be_written_is_an_error(self, tmp_path):
        (tmp_path / "figures").write_text("a file where the folder goes")
        with pytest.raises(StorageError, match="figures"):
            write_report(document(plate()), tmp_path)
        assert not (tmp_path / "report.html").exists()

    def test_a_relative_folder_is_one_of_the_current_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert write_report(document(plate()), Path("here")) == Path("here/report.html")
        assert (tmp_path / "here/figures/bars.png").exists()


class TestEmbeddedImage:
    def test_line_art_is_a_small_png_twice_as_sharp_as_the_page(self):
        image = embedded_image(bars(CLASS_COLORS), photographs=False)
        assert (image.mime, image.width, image.height) == ("image/png", 384, 256)
        decoded = Image.open(io.BytesIO(image.data))
        assert (decoded.mode, decoded.size) == ("P", (585, 390))
        assert len(image.data) < 10_000

    def test_photographs_are_a_jpeg(self):
        image = embedded_image(bars(CLASS_COLORS), photographs=True)
        assert (image.mime, image.width, image.height) == ("image/jpeg", 384, 256)
        assert Image.open(io.BytesIO(image.data)).size == (390, 260)

    def test_art_that_is_large_is_less_sharp(self, monkeypatch):
        monkeypatch.setattr(raster, "LARGE", 500)
        image = embedded_image(bars(CLASS_COLORS), photographs=False)
        decoded = Image.open(io.BytesIO(image.data))
        assert (decoded.mode, decoded.size) == ("P", (390, 260))
        assert (image.width, image.height) == (384, 256)

    def test_ordinary_art_stays_small(self):
        figure = new_figure()
        figure.subplots().scatter(*np.random.default_rng(0).random((2, 60)), label="trials")
        assert len(embedded_image(figure, photographs=False).data) < LARGE / 2

    def test_what_turns_out_to_be_photographs_is_a_jpeg(self):
        figure = Figure((3, 2))
        blocks = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        figure.add_axes((0, 0, 1, 1)).imshow(blocks, aspect="auto")
        assert embedded_image(figure, photographs=False).mime == "image/jpeg"

    def test_solid_colors_survive_whatever_surrounds_them(self):
        """A class's small patch among the 20,000 colours of blended points."""
        generator = np.random.default_rng(0)
        pixels = np.repeat(generator.integers(0, 256, (120, 200, 1), dtype=np.uint8), 3, axis=2)
        pixels[..., 2] = generator.integers(100, 180, (120, 200))
        patches = {(192, 0, 31): 5, (190, 60, 31): 25, (0, 128, 0): 45, (255, 255, 255): 65}
        for color, place in patches.items():
            pixels[10:15, place : place + 5] = color
        quantised = np.asarray(with_palette(Image.fromarray(pixels)).convert("RGB"))
        for color, place in patches.items():
            assert (quantised[11:14, place + 1 : place + 4] == color).all()

    def test_few_colors_are_kept_exactly(self):
        pixels = np.zeros((20, 20, 3), dtype=np.uint8)
        pixels[5:10, 5:10] = (10, 200, 30)
        pixels[15, 3] = (255, 0, 255)
        assert (np.asarray(with_palette(Image.fromarray(pixels)).convert("RGB")) == pixels).all()

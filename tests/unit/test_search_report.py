"""The whole report of searches in any state: it is always made, and says what is missing."""

import re
from dataclasses import replace

import pytest

from analysis.report.data_section import compose_dataset_report
from analysis.report.document import MissingPlate
from analysis.report.gather import gather
from analysis.report.search_report import compose_search_report
from analysis.subjects.plate import Plate, Unavailable

DICE = {"name": "dice"}


def compose(search, data=None, why="the images are elsewhere", top=2):
    return compose_search_report(search, data, why, top=top, folder="runs/made")


def plates_of(document):
    return [plate for section in document.sections for plate in section.plates]


def missing(document):
    return {plate.title: plate.why for plate in plates_of(document) if isinstance(plate, MissingPlate)}


def require_sound(document):
    """Every place is a plate or says why it is none, and nothing failed."""
    for title, why in missing(document).items():
        assert "defect" not in why, f"{title}: {why}"
        assert why.endswith(".")
    keys = [plate.key for plate in plates_of(document) if isinstance(plate, Plate)]
    assert len(set(keys)) == len(keys)
    assert len({section.key for section in document.sections}) == len(document.sections)


def test_a_confirmed_search_has_all_that_needs_no_images(confirmed_losses):
    document = compose(confirmed_losses)
    require_sound(document)
    assert [section.key for section in document.sections] == [
        "losses", "things", "pair", "search", "trial-t0004", "trial-t0009", "data",
    ]  # fmt: skip
    assert document.statements[0].verdict is not None
    assert document.claims["reference_run_ids"].iloc[0] == "run-t0000-s1;run-t0000-s2;run-t0000-s3"
    assert document.command is None
    assert document.table is not None
    gone = missing(document)
    assert "The images are elsewhere." in gone["Figures of the images"]
    assert not {title for title in gone if "dev images" not in title.lower()} & {"Losses compared", "Scores by scene"}
    assert any("no evidence about losses" in note for note in document.notes)


def test_the_difference_of_two_matrices_is_of_the_split_that_the_pair_is_judged_by(searched_losses, confirmed_losses):
    for search, split in ((searched_losses, "dev"), (confirmed_losses, "val")):
        (plate,) = [plate for plate in plates_of(compose(search)) if getattr(plate, "key", "") == "matrix_difference"]
        assert plate.title == f"What t0004 changed against t0000 on {split}"
    assert set(plate.table["run_id"]) == {"run-t0004-s1;run-t0004-s2;run-t0004-s3"}
    assert set(plate.table["baseline_run_id"]) == {"run-t0000-s1;run-t0000-s2;run-t0000-s3"}


def test_an_unconfirmed_search_names_the_command(searched_losses):
    document = compose(searched_losses)
    require_sound(document)
    assert document.command == "aerosweep confirm runs/made"
    assert all(statement.verdict is None for statement in document.statements)
    assert document.claims is None
    facts = dict(document.facts)
    assert facts["Objective"] == "mIoU on dev"
    assert facts["Trials"] == "12 of 12 (7 completed, 2 pruned, 1 diverged, 1 failed, 1 running), 6 epochs at most"


def test_the_command_of_a_search_that_was_found_by_name_has_the_recorded_folder(searched_losses):
    recorded = replace(searched_losses, settings={"storage": "/data/my runs/"})
    assert compose_search_report(recorded, None, "x", top=1).command == "aerosweep confirm '/data/my runs/made'"
    assert compose_search_report(searched_losses, None, "x", top=1).command is None


@pytest.mark.parametrize("state", ["running", "interrupted"])
def test_a_search_that_has_not_ended_says_so(searched_losses, state):
    document = compose(replace(searched_losses, state=state, budget=40))
    require_sound(document)
    assert f"The search is {state}: it has 12 of its 40 trials." in document.notes


def test_searches_with_next_to_nothing_have_a_report(made_search, made_trial):
    nothing = made_search([], dataset=None)
    failed = made_search([made_trial(0, DICE, state="failed", epochs=0)])
    running = made_search([made_trial(0, DICE, state="running", epochs=1)])
    one = made_search([made_trial(0, DICE)])
    uncounted = made_search([made_trial(number, DICE, counted=False) for number in range(2)])
    for search in (nothing, failed, running, one, uncounted):
        document = compose(search)
        require_sound(document)
        assert document.title
        assert missing(document)


def test_what_cannot_be_shown_of_losses_is_said(made_search, made_trial):
    """No Tversky, and one loss only."""
    document = compose(made_search([made_trial(number, DICE, recall=0.1 * number) for number in (1, 2, 3)]))
    require_sound(document)
    assert "tversky" in missing(document)["The Tversky landscape"].lower()


def test_images_of_another_set_cost_only_the_cases(searched_losses, synthetic_data):
    document = compose(searched_losses, synthetic_data, "")
    require_sound(document)
    titles = {plate.title for plate in plates_of(document) if isinstance(plate, Plate)}
    assert "Class distribution" in titles
    assert any("segments best" in title for title in missing(document))


def test_problems_of_reading_are_notes(searched_losses):
    document = compose(replace(searched_losses, problems=("t0099 is left out: no config.",)))
    assert "t0099 is left out: no config." in document.notes


def test_the_report_of_a_set_alone_decodes_masks_only(synthetic_config, tmp_path):
    seen = []
    document = compose_dataset_report(synthetic_config, tmp_path, lambda done, total: seen.append((done, total)))
    require_sound(document)
    assert seen[-1] == (40, 40)
    counts = re.findall(r"(\d+) (train|dev|val)", dict(document.facts)["Images"])
    assert sum(int(count) for count, _ in counts) == 40
    assert [split for _, split in counts] == ["train", "dev", "val"]
    assert not list(tmp_path.rglob("images.u8")), "a cache was written"
    assert document.statements == ()


def test_a_defect_of_one_figure_costs_no_other(caplog):
    def unavailable():
        raise Unavailable("There is nothing to show.")

    def broken():
        raise ZeroDivisionError("by zero")

    first, second = gather([("one", unavailable), ("two", broken)])
    assert first == MissingPlate("one", "There is nothing to show.")
    assert second.title == "two"
    assert "ZeroDivisionError: by zero" in second.why
    assert "please report it" in second.why
    assert "Traceback" in caplog.text

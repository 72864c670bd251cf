"""What a confirmation says: who is compared with whom, by what, and when a gain is only a moved operating point."""

import csv
import io

import numpy as np
import pytest
from rich.console import Console

from aerosweep.terminal.confirmation_view import (
    claims_csv,
    claims_table,
    closing_notes,
    confirmed_csv,
    confirmed_table,
    confirmed_trials,
    reasons,
)
from analysis.evidence.claims import Verdict
from analysis.evidence.confirmation import (
    ConfirmedTrial,
    choose_reference,
    judge,
    metric_names,
    moved_only_the_operating_point,
)
from search.decide.confirm_plan import Candidate
from trainable.errors import InputError
from trainable.measure.val_counts import ValCounts
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec, ValRecord
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord

CLASSES = ("road", "person")
SCENES = 8
PIXELS = 1000
PERSONS = 200


def run(recall, seed, adjusted=None, scenes=SCENES, tau=0.25):
    """A network that finds this share of the person pixels, a little more or less by scene and seed."""
    generator = np.random.default_rng(seed)
    luck = generator.normal(0, 0.01, scenes) + generator.normal(0, 0.004)
    return ValCounts(
        images=tuple(f"{scene}_{frame}" for scene in range(scenes) for frame in range(2)),
        scenes=tuple(str(scene) for scene in range(scenes) for _ in range(2)),
        class_names=CLASSES,
        class_colors=np.array([[128, 64, 0], [255, 0, 9]], dtype=np.uint8),
        things=np.array([False, True]),
        counts=pixel_counts(recall + luck),
        adjusted_counts=pixel_counts((recall if adjusted is None else adjusted) + luck),
        sized_objects=object_counts(recall + luck)[:, :, None],
        tau=tau,
    )


def pixel_counts(recall_S):
    found = np.repeat(np.round(PERSONS * recall_S), 2).astype(np.int64)
    person = np.stack([found, PERSONS - found, np.zeros_like(found)], axis=1)
    road = np.stack([np.full_like(found, PIXELS), np.zeros_like(found), PERSONS - found], axis=1)
    return np.stack([road, person], axis=1)


def object_counts(recall_S):
    missed = np.repeat(np.round(10 * (1 - recall_S)), 2).astype(np.int64)
    person = np.stack([np.full_like(missed, 10), missed, np.ones_like(missed)], axis=1)
    return np.stack([np.zeros_like(person), person], axis=1)


def trial(name, recall, *, seeds=3, loss="tversky", baseline=False, dev=0.5, adjusted=None, scenes=SCENES, lost=0):
    first = 100 * (1 + sum(map(ord, name)))
    runs = tuple(run(recall, first + seed, adjusted, scenes) for seed in range(seeds))
    return ConfirmedTrial(name, f"unet, {loss}", loss, ("rank 1",), baseline, dev, 12, runs, lost)


REFERENCE = {"loss": "cross_entropy", "baseline": True}


def of(confirmation, candidate, metric):
    return next(c for c in confirmation.claims if (c.candidate, c.metric) == (candidate, metric))


def test_the_reference_is_the_best_baseline_by_dev_not_by_val():
    weak_on_val = trial("t0", 0.2, **REFERENCE, dev=0.9)
    others = [trial("t1", 0.8, **REFERENCE, dev=0.4), trial("t2", 0.9, dev=0.95)]
    assert choose_reference([*others, weak_on_val]) is weak_on_val


def test_without_baselines_the_best_cross_entropy_is_the_reference_and_without_that_nothing_is():
    plain = trial("t0", 0.2, loss="cross_entropy", dev=0.1)
    assert choose_reference([trial("t1", 0.8), plain, trial("t2", 0.9)]) is plain
    only = [trial("t1", 0.8), trial("t2", 0.9, loss="dice")]
    assert choose_reference(only) is None
    confirmation = judge(only, ("miou",), 0.01)
    assert (confirmation.claims, confirmation.reference) == ([], None)
    assert "neither a baseline nor a cross entropy trial" in closing_notes(confirmation, ("miou",))[0]


def test_a_real_gain_is_supported_and_none_is_not():
    confirmation = judge(
        [trial("t0", 0.5, **REFERENCE), trial("gain", 0.8), trial("same", 0.5), trial("worse", 0.3)], ("miou",), 0.01
    )
    assert confirmation.rows[0].trial.trial == "gain"
    assert of(confirmation, "gain", "miou").verdict is Verdict.SUPPORTED
    assert of(confirmation, "gain", "thing_miss_rate").verdict is Verdict.SUPPORTED
    assert of(confirmation, "same", "miou").verdict is not Verdict.SUPPORTED
    assert of(confirmation, "worse", "iou/person").verdict is Verdict.NOT_SUPPORTED
    assert of(confirmation, "gain", "iou/person").difference == pytest.approx(0.3, abs=0.02)


def test_rows_are_ordered_by_the_first_objective_downwards_or_upwards():
    trials = [trial("t0", 0.5, **REFERENCE), trial("t1", 0.8), trial("t2", 0.3)]
    assert [row.trial.trial for row in judge(trials, ("miou",), 0.01).rows] == ["t1", "t0", "t2"]
    assert [row.trial.trial for row in judge(trials, ("thing_miss_rate",), 0.01).rows] == ["t1", "t0", "t2"]


def test_everything_that_matters_is_scored_once():
    names = metric_names(run(0.5, 0), ("miou", "recall/person"))
    assert names[:3] == ["miou", "recall/person", "thing_miou"]
    assert {"iou/person", "miss_rate/person", "false_alarms_per_image/person"} <= set(names)
    assert not any("road" in name for name in names)
    assert len(names) == len(set(names))


def test_a_gain_that_adjustment_matches_is_a_moved_operating_point():
    reference = trial("t0", 0.5, **REFERENCE, adjusted=0.8)
    moved, real = trial("moved", 0.8, adjusted=0.8), trial("real", 0.8, adjusted=0.95)
    confirmation = judge([reference, moved, real], ("thing_miou",), 0.01)
    assert moved_only_the_operating_point(confirmation, "moved", "thing_miou")
    assert not moved_only_the_operating_point(confirmation, "real", "thing_miou")
    assert not moved_only_the_operating_point(confirmation, "t0", "thing_miou")
    (note,) = (note for note in closing_notes(confirmation, ("thing_miou",)) if "operating point" in note)
    assert note.startswith("moved: ")


def test_adjusted_claims_are_of_pixels_only():
    confirmation = judge([trial("t0", 0.5, **REFERENCE), trial("t1", 0.8)], ("miou",), 0.01)
    metrics = {claim.metric for claim in confirmation.adjusted_claims}
    assert metrics == {"miou", "thing_miou", "iou/person"}


def shown(table, width=160):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_the_tables_say_mean_spread_interval_and_verdict():
    confirmation = judge([trial("t0", 0.5, **REFERENCE), trial("t1", 0.8, lost=1)], ("miou",), 0.01)
    scores = shown(confirmed_table(confirmation, ("miou",)))
    assert "16 images of 8 scenes" in scores
    lines = scores.splitlines()
    reference = next(place for place, line in enumerate(lines) if "t0 " in line)
    assert "ref" in lines[reference + 1]
    assert "-1" in lines[next(place for place, line in enumerate(lines) if "t1 " in line) + 1]
    assert " ±." in scores
    assert "tau .25" in scores
    claims = shown(claims_table(confirmation, ("miou",)))
    assert "Claims against t0 (unet, cross_entropy)" in claims
    assert closing_notes(confirmation, ("miou",))[-1].startswith(
        "4 claims at 95 %: about 0.1 would be called supported"
    )
    assert "supported (1)" in claims
    assert "+." in claims
    assert reasons(confirmation, ("miou",))[0] == "(1) The whole interval is better than no difference."


def test_the_tables_keep_their_figures_on_a_narrow_terminal():
    confirmation = judge([trial("t0", 0.5, **REFERENCE), trial("t1", 0.8)], ("miou",), 0.01)
    for table in (confirmed_table(confirmation, ("miou",)), claims_table(confirmation, ("miou",))):
        assert "…" not in shown(table, width=80)


def test_too_few_scenes_and_a_single_seed_are_told_and_nothing_is_claimed():
    few = judge([trial("t0", 0.5, **REFERENCE, scenes=4), trial("t1", 0.8, scenes=4)], ("miou",), 0.01)
    assert all(claim.verdict is Verdict.CANNOT_BE_TOLD for claim in few.claims)
    assert closing_notes(few, ("miou",)) == []
    assert "no interval: it takes 5 scenes" in " ".join(shown(confirmed_table(few, ("miou",))).split())
    single = judge([trial("t0", 0.5, **REFERENCE, seeds=1), trial("t1", 0.8, seeds=1)], ("miou",), 0.01)
    assert all(claim.verdict is Verdict.CANNOT_BE_TOLD for claim in single.claims)
    assert "It takes 2 seeds of each side" in single.claims[0].why


def test_the_files_hold_every_score_and_every_claim():
    confirmation = judge([trial("t0", 0.5, **REFERENCE), trial("t1", 0.8)], ("miou",), 0.01)
    scores = list(csv.DictReader(io.StringIO(confirmed_csv(confirmation).decode())))
    names = set(metric_names(run(0.5, 0), ("miou",)))
    plain = [row for row in scores if row["adjusted"] == "false"]
    assert {(row["trial"], row["metric"]) for row in plain} == {(t, m) for t in ("t0", "t1") for m in names}
    assert {row["reference"] for row in scores if row["trial"] == "t0"} == {"true"}
    claims = list(csv.DictReader(io.StringIO(claims_csv(confirmation).decode())))
    assert {row["metric"] for row in claims if row["adjusted"] == "false"} == names
    row = next(row for row in claims if row["metric"] == "miou" and row["adjusted"] == "false")
    assert (row["candidate"], row["reference"], row["verdict"], row["seeds"]) == ("t1", "t0", "supported", "3 3")
    assert float(row["low"]) < float(row["difference"]) < float(row["high"])


@pytest.mark.parametrize("damage", [None, b"", b"PK\x03\x04 half", "half"])
def test_a_measurement_that_is_damaged_is_named_with_its_remedy(tmp_path, damage):
    folder = Storage(str(tmp_path / "small"))
    epochs = (EpochRecord(1, 0, 0.5, 1, {"miou": 0.5}),)
    end = EndMarker("completed", "", 0, 1, epochs)
    source = TrialSnapshot(TrialSpec("t0003", 3, {}, {"loss": {"name": "dice"}}, False, 0), epochs, end)
    spec = TrialSpec("t0003-s1", 0, {}, {}, False, 0, confirms="t0003")
    measured = TrialSnapshot(spec, epochs, end, val=ValRecord(1, 0, {"miou": 0.4}))
    whole = run(0.5, 0).to_bytes()
    content = whole[: len(whole) // 2] if damage == "half" else damage
    if content is not None:
        TrialRecord(folder.child("confirm"), "t0003-s1").folder.write("val/counts.npz", content)
    with pytest.raises(InputError, match=r"t0003-s1/val/counts\.npz must be the whole file .* Delete the folder"):
        confirmed_trials(folder, [Candidate(source, ("rank 1",))], [measured])
    TrialRecord(folder.child("confirm"), "t0003-s1").folder.write("val/counts.npz", whole)
    (found,) = confirmed_trials(folder, [Candidate(source, ("rank 1",))], [measured])
    assert (found.trial, found.loss, found.dev, len(found.runs), found.lost) == ("t0003", "dice", 0.5, 1, 0)

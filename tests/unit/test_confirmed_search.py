"""A confirmation as it is read from runs: what counts, what is lost, what is left out and said."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.recorded.confirmed_search import confirmed_trials, missing_of_confirmation
from trainable.measure.val_counts import ValCounts


def with_runs(search, runs):
    return replace(search, runs=tuple(runs))


def without_counts(run):
    source = type(run.source)()
    source.histories = run.source.histories
    return replace(run, source=source)


def with_artifact(run, data):
    changed = without_counts(run)
    changed.source.artifacts[run.run_id, "val_counts.npz"] = data
    return changed


def test_configurations_come_best_by_dev_first_with_their_runs(confirmed_losses):
    trials = confirmed_trials(confirmed_losses)
    assert [trial.trial for trial in trials] == ["t0004", "t0003", "t0002", "t0000"]
    best = trials[0]
    assert best.run_ids == ("run-t0004-s1", "run-t0004-s2", "run-t0004-s3")
    assert (best.loss, best.baseline, best.epochs, best.lost) == ("tversky", False, 6, 0)
    assert best.dev == confirmed_losses.trial("t0004").objective
    assert [network.names for network in best.networks] == [tuple(f"s{scene}" for scene in range(6))] * 3
    assert all(isinstance(run, ValCounts) for run in best.runs)
    assert missing_of_confirmation(confirmed_losses) == []


def test_an_unconfirmed_search_has_none_and_misses_nothing(searched_losses):
    assert confirmed_trials(searched_losses) == []
    assert missing_of_confirmation(searched_losses) == []


def test_lost_runs_are_counted_and_running_ones_are_neither(confirmed_losses):
    states = {"t0004-s2": "diverged", "t0004-s3": "failed", "t0003-s1": "running", "t0003-s2": "interrupted"}
    runs = [
        replace(without_counts(run), state=states[run.trial_id]) if run.trial_id in states else run
        for run in confirmed_losses.runs
    ]
    search = with_runs(confirmed_losses, runs)
    found = {trial.trial: trial for trial in confirmed_trials(search)}
    assert (len(found["t0004"].runs), found["t0004"].lost) == (1, 2)
    assert (len(found["t0003"].runs), found["t0003"].lost) == (1, 0)
    said = missing_of_confirmation(search)
    assert said[0] == "The runs t0003-s1 and t0003-s2 have not ended and are not counted yet."
    assert said[1] == "The runs t0004-s2 and t0004-s3 diverged or failed and are in no mean."
    assert said[2] == (
        "The configurations were not confirmed equally often: t0000 has 3 seeds, t0002 has 3 seeds, t0003 has 1 seed "
        "and t0004 has 1 seed."
    )


@pytest.mark.parametrize("data", [None, b"", b"PK\x03\x04 half"])
def test_a_run_without_readable_counts_is_lost_and_said(confirmed_losses, data):
    first, *rest = confirmed_losses.runs
    changed = without_counts(first) if data is None else with_artifact(first, data)
    search = with_runs(confirmed_losses, [changed, *rest])
    best = confirmed_trials(search)[0]
    assert (len(best.runs), best.lost, best.run_ids) == (2, 1, ("run-t0004-s2", "run-t0004-s3"))
    assert "The run t0004-s1 ended without readable counts of val and is left out." in missing_of_confirmation(search)


def test_counts_of_a_wrong_kind_are_not_readable(confirmed_losses):
    first, *rest = confirmed_losses.runs
    counts = replace(first.val, counts=first.val.counts.astype(np.float64))
    search = with_runs(confirmed_losses, [with_artifact(first, counts.to_bytes()), *rest])
    assert len(confirmed_trials(search)[0].runs) == 2


def test_runs_on_another_val_split_than_most_are_left_out_and_said(confirmed_losses, made_run):
    other = made_run(confirmed_losses.trial("t0004"), 4, recall=0.8, scenes=7)
    search = with_runs(confirmed_losses, [other, *confirmed_losses.runs])
    assert {len(run.images) for trial in confirmed_trials(search) for run in trial.runs} == {12}
    assert missing_of_confirmation(search) == [
        "The run t0004-s4 saw another val split than the others and is left out."
    ]


def test_a_run_of_an_unknown_trial_is_left_out_and_said(confirmed_losses):
    orphan = replace(confirmed_losses.runs[0], trial_id="t0099-s1", confirms="t0099")
    search = with_runs(confirmed_losses, [*confirmed_losses.runs[3:], orphan])
    assert "t0099" not in {trial.trial for trial in confirmed_trials(search)}
    assert missing_of_confirmation(search)[0] == (
        "The run t0099-s1 confirms a trial that is not recorded and is left out."
    )


def test_runs_of_unequal_length_are_said(confirmed_losses):
    first, *rest = confirmed_losses.runs
    source = type(first.source)()
    source.artifacts = first.source.artifacts
    source.histories = {first.run_id: first.source.histories[first.run_id].iloc[:4]}
    search = with_runs(confirmed_losses, [replace(first, source=source), *rest])
    assert missing_of_confirmation(search) == [
        "The confirming runs are not of one length in epochs: t0000 6, t0002 6, t0003 6 and t0004 4 to 6."
    ]


def test_many_names_are_cut(confirmed_losses):
    runs = [replace(without_counts(run), state="running") for run in confirmed_losses.runs]
    (said,) = missing_of_confirmation(with_runs(confirmed_losses, runs))
    assert said.startswith("The runs t0004-s1, t0004-s2, t0004-s3, t0003-s1, t0003-s2, t0003-s3 and 6 others have not")


def test_counts_that_cannot_be_read_are_named(confirmed_losses, caplog):
    run = confirmed_losses.runs[0]
    assert with_artifact(run, b"no archive").val is None
    assert f"val_counts.npz of run {run.run_id} ({run.trial_id}) cannot be read" in caplog.text

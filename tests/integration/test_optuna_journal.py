"""The journal that the search leaves behind, as Optuna and Optuna Dashboard read it."""

import json
from datetime import UTC, datetime
from io import BytesIO
from wsgiref.util import setup_testing_defaults

import optuna
import optuna_dashboard
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from search.project.optuna_journal import JOURNAL_FILE, OptunaJournal
from search.space.space import nested
from search.space.space_parsing import parse_space
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec, trial_name
from trainable.record.storage import Storage

BEGAN_MS = 1_700_000_000_000
SPACE = parse_space(
    {
        "model": {"architecture": ["unet", "deeplabv3"], "encoder": "resnet34"},
        "loss": {"name": ["dice", "tversky"], "alpha": {"low": 0.1, "high": 1.0}, "beta": {"low": 0.1, "high": 1.0}},
        "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
        "data": {"batch_size": {"low": 2, "high": 8}},
    }
)
TVERSKY = {
    "model.architecture": "unet",
    "loss.name": "tversky",
    "loss.alpha": 0.7,
    "loss.beta": 0.3,
    "optimizer.learning_rate": 1e-3,
    "data.batch_size": 4,
}
DICE = {key: value for key, value in TVERSKY.items() if key not in ("loss.alpha", "loss.beta")} | {"loss.name": "dice"}


def trial(number, reason="completed", params=TVERSKY, objectives=(0.2, 0.3)):
    spec = TrialSpec(trial_name(number), number, params, nested(params), False, BEGAN_MS + number)
    history = tuple(EpochRecord(i, BEGAN_MS + i, value, i, {}) for i, value in enumerate(objectives, start=1))
    end = EndMarker(reason, "for a reason", BEGAN_MS + 60_000, 1, history) if reason else None
    return TrialSnapshot(spec, history, end)


def load(path):
    return optuna.load_study(study_name="aeroscapes", storage=JournalStorage(JournalFileBackend(str(path))))


@pytest.fixture
def folder(tmp_path):
    return Storage(str(tmp_path / "search"))


@pytest.fixture
def path(folder):
    return folder.local_path / JOURNAL_FILE


def journal(folder, space=SPACE):
    return OptunaJournal(folder, "aeroscapes", space)


def test_a_trial_is_copied_with_all_that_optuna_knows_of_one(folder, path):
    journal(folder).project(trial(7))
    (copied,) = load(path).trials
    assert copied.state == TrialState.COMPLETE
    assert copied.value == 0.3
    assert copied.params == TVERSKY
    assert copied.distributions["optimizer.learning_rate"] == optuna.distributions.FloatDistribution(
        1e-4, 1e-2, log=True
    )
    assert copied.distributions["data.batch_size"] == optuna.distributions.IntDistribution(2, 8)
    assert copied.distributions["loss.name"].choices == ("dice", "tversky")
    assert copied.intermediate_values == {1: 0.2, 2: 0.3}
    assert copied.datetime_start.astimezone(UTC) == datetime.fromtimestamp(BEGAN_MS / 1000 + 0.007, UTC)
    assert copied.duration.total_seconds() == pytest.approx(59.993)
    assert copied.user_attrs == {
        "aerosweep_trial": "t0007",
        "aerosweep_reason": "completed",
        "aerosweep_detail": "for a reason",
        "architecture": "unet",
        "loss": "tversky",
    }


def test_a_param_that_does_not_exist_under_the_loss_is_not_there(folder, path):
    journal(folder).project(trial(0, params=DICE))
    assert load(path).trials[0].params == DICE


@pytest.mark.parametrize(
    ("reason", "objectives", "state", "value"),
    [
        ("completed", (0.2, 0.3), TrialState.COMPLETE, 0.3),
        ("pruned", (0.2, 0.2), TrialState.PRUNED, 0.2),
        ("diverged", (0.2, 0.0), TrialState.COMPLETE, 0.0),
        ("diverged", (), TrialState.COMPLETE, 0.0),
        ("failed", (0.2,), TrialState.FAIL, None),
        ("failed", (), TrialState.FAIL, None),
    ],
)
def test_each_end_has_its_state(folder, path, reason, objectives, state, value):
    journal(folder).project(trial(0, reason, objectives=objectives))
    (copied,) = load(path).trials
    assert (copied.state, copied.value) == (state, value)


def test_an_unfinished_trial_is_not_copied(folder, path):
    journal(folder).project(trial(0, reason=None))
    assert not path.exists()


def test_projecting_again_changes_not_a_byte(folder, path):
    first = journal(folder)
    for again in (first, first, journal(folder)):
        again.project(trial(0))
        again.project(trial(1, params=DICE))
        again.close()
    before = path.read_bytes()
    journal(folder).project(trial(1, params=DICE))
    assert path.read_bytes() == before
    assert [t.user_attrs["aerosweep_trial"] for t in load(path).trials] == ["t0000", "t0001"]


def test_a_sync_beside_a_running_search_copies_nothing_twice(folder, path):
    running = journal(folder)
    running.project(trial(0))
    journal(folder).project(trial(1))
    running.project(trial(1))
    running.project(trial(2))
    assert [t.user_attrs["aerosweep_trial"] for t in load(path).trials] == ["t0000", "t0001", "t0002"]


def test_optuna_goes_on_where_the_search_has_ended(folder, path):
    written = journal(folder)
    for number in range(12):
        params = TVERSKY | {"loss.alpha": 0.1 + number / 20}
        written.project(trial(number, objectives=(number / 20,), params=params))
    study = load(path)
    assert study.best_trial.user_attrs["aerosweep_trial"] == "t0011"
    asked = study.ask(study.best_trial.distributions)
    assert set(asked.params) == set(TVERSKY)


def test_a_baseline_outside_the_space_keeps_its_params_as_an_attribute(folder, path):
    outside = TVERSKY | {"loss.alpha": 3.0}
    written = journal(folder)
    written.project(trial(0, params=outside))
    written.project(trial(1))
    copied = load(path).trials
    assert copied[0].params == {}
    assert copied[0].value == 0.3
    assert copied[0].user_attrs["params_outside_the_space"] == outside
    assert copied[1].params == TVERSKY


def test_a_trial_of_another_space_keeps_its_params_as_an_attribute(folder, path):
    journal(folder).project(trial(0, params={"loss.name": "dice"}))
    (copied,) = load(path).trials
    assert copied.params == {}
    assert copied.user_attrs["params_outside_the_space"] == {"loss.name": "dice"}


def test_a_half_written_line_is_dropped(folder, path):
    """A driver killed while it wrote: Optuna would append to the half line and never read the file again."""
    journal(folder).project(trial(0))
    with path.open("ab") as file:
        file.write(b'{"op_code": 4, "study')
    journal(folder).project(trial(1))
    assert [t.user_attrs["aerosweep_trial"] for t in load(path).trials] == ["t0000", "t0001"]


def test_a_damaged_journal_is_laid_aside_and_written_anew(folder, path, caplog):
    journal(folder).project(trial(0))
    path.write_bytes(b"not JSON\n" + path.read_bytes())
    written = journal(folder)
    for number in (0, 1):
        written.project(trial(number))
    assert [t.user_attrs["aerosweep_trial"] for t in load(path).trials] == ["t0000", "t0001"]
    assert path.with_name("optuna.journal.damaged").exists()
    assert "damaged" in caplog.text


def test_nothing_is_printed(folder, capfd):
    written = journal(folder)
    written.project(trial(0))
    written.project(trial(1, params=TVERSKY | {"loss.alpha": 3.0}))
    written.close()
    assert capfd.readouterr() == ("", "")


def test_on_an_object_store_the_file_is_uploaded_when_closed(tmp_path):
    folder = Storage("memory://searches/one")
    written = journal(folder)
    written.project(trial(0))
    assert folder.read(JOURNAL_FILE) is None
    written.close()
    next_launch = journal(folder)
    next_launch.project(trial(0))
    next_launch.project(trial(1))
    next_launch.close()
    next_launch.close()
    path = tmp_path / "downloaded"
    path.write_bytes(folder.read(JOURNAL_FILE))
    assert [t.user_attrs["aerosweep_trial"] for t in load(path).trials] == ["t0000", "t0001"]


def get(app, path):
    """One request to a WSGI application."""
    environ = {"PATH_INFO": path, "wsgi.input": BytesIO()}
    setup_testing_defaults(environ)
    status = []
    body = b"".join(app(environ, lambda line, headers, error=None: status.append(line)))
    assert status == ["200 OK"], body
    return json.loads(body)


def test_optuna_dashboard_opens_it(folder, path):
    written = journal(folder)
    for number, reason in enumerate(("completed", "pruned", "diverged", "failed")):
        written.project(trial(number, reason, params=(TVERSKY, DICE)[number % 2]))
    app = optuna_dashboard.wsgi(JournalStorage(JournalFileBackend(str(path))))
    (summary,) = get(app, "/api/studies")["study_summaries"]
    assert summary["study_name"] == "aeroscapes"
    assert summary["directions"] == ["maximize"]
    detail = get(app, f"/api/studies/{summary['study_id']}")
    assert [t["state"] for t in detail["trials"]] == ["Complete", "Pruned", "Complete", "Fail"]
    assert {attr["key"] for attr in detail["trials"][0]["user_attrs"]} >= {"aerosweep_trial", "architecture", "loss"}
    assert [p["name"] for p in detail["union_search_space"]] == sorted(TVERSKY)


OBJECTIVES = ("miou", "thing_miss_rate")


def trial_of_two(number, reason, miou, miss_rate):
    """A trial whose best epoch is its first of two."""
    snapshot = trial(number, reason)
    history = tuple(
        EpochRecord(epoch, BEGAN_MS, miou, 1, {"miou": miou / epoch} | miss_rate(epoch)) for epoch in (1, 2)
    )
    return TrialSnapshot(snapshot.spec, history, EndMarker(reason, "", BEGAN_MS, 1, history))


def missed(share):
    return lambda epoch: {"thing_miss_rate": share / epoch}


TWO_OBJECTIVES = [
    trial_of_two(0, "completed", 0.5, missed(0.4)),
    trial_of_two(1, "completed", 0.4, missed(0.2)),
    trial_of_two(2, "completed", 0.45, missed(0.6)),
    trial_of_two(3, "pruned", 0.3, missed(0.1)),
    trial_of_two(4, "diverged", 0.9, missed(0.0)),
    trial_of_two(5, "failed", 0.9, missed(0.0)),
    trial_of_two(6, "completed", 0.6, lambda epoch: {}),
]


@pytest.fixture
def two_objectives(folder, path):
    """A journal of two objectives, written in two goes."""
    for part in (TWO_OBJECTIVES[:2], TWO_OBJECTIVES):
        written = OptunaJournal(folder, "aeroscapes", SPACE, OBJECTIVES)
        for each in part:
            written.project(each)
        written.close()
    return path


def test_several_objectives_keep_their_directions_names_and_values(two_objectives):
    study = load(two_objectives)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == list(OBJECTIVES)
    assert [(copied.state.name, copied.values) for copied in study.trials] == [
        ("COMPLETE", [0.5, 0.4]),
        ("COMPLETE", [0.4, 0.2]),
        ("COMPLETE", [0.45, 0.6]),
        ("PRUNED", [0.3, 0.1]),
        ("FAIL", None),
        ("FAIL", None),
        ("FAIL", None),
    ]
    assert {copied.user_attrs["aerosweep_trial"] for copied in study.best_trials} == {"t0000", "t0001"}


def test_optuna_goes_on_where_a_search_of_several_objectives_has_ended(folder, path):
    written = OptunaJournal(folder, "aeroscapes", SPACE, OBJECTIVES)
    for number in range(14):
        written.project(trial_of_two(number, ("completed", "pruned")[number % 2], number / 20, missed(number / 20)))
    study = load(path)
    assert set(study.ask(study.trials[0].distributions).params) == set(TVERSKY)


def test_the_journal_of_one_objective_is_the_one_that_it_always_was(folder, path):
    journal(folder).project(trial(0))
    study = load(path)
    assert study.metric_names is None
    assert "metric_names" not in path.read_text()


def test_optuna_dashboard_opens_several_objectives(two_objectives):
    app = optuna_dashboard.wsgi(JournalStorage(JournalFileBackend(str(two_objectives))))
    (summary,) = get(app, "/api/studies")["study_summaries"]
    assert summary["directions"] == ["maximize", "minimize"]
    detail = get(app, f"/api/studies/{summary['study_id']}")
    assert detail["objective_names"] == list(OBJECTIVES)
    assert [trial["trial_id"] for trial in detail["best_trials"]] == [0, 1]
    assert [t["state"] for t in detail["trials"]] == [*3 * ["Complete"], "Pruned", *3 * ["Fail"]]

"""What the user sees while a search runs."""

import io
import threading
import time
from dataclasses import replace

import pytest
from rich.console import Console

from aerosweep.terminal.progress import (
    LiveView,
    PlainView,
    best_text,
    best_trial,
    counts_text,
    duration,
    epochs_left,
    make_view,
    progress_line,
    render,
    running_rows,
    seconds_left,
    time_text,
)
from aerosweep.terminal.trial_line import ended_line
from search.run.search_state import SearchState
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec


def trial(number, objectives=(), reason=None, baseline=False, detail="", loss="dice"):
    epochs = tuple(EpochRecord(n, 0, value, n, {}) for n, value in enumerate(objectives, start=1))
    config = {"model": {"architecture": "unet"}, "loss": {"name": loss}}
    end = EndMarker(reason, detail, 0, 1, epochs) if reason else None
    return TrialSnapshot(TrialSpec(f"t{number:04d}", number, {}, config, baseline, 0), epochs, end, 1)


def state(*trials, running=(), **changes):
    settings = {"name": "demo", "budget_trials": 10, "max_epochs": 6, "slots": 2, "started": 1000.0} | changes
    return SearchState(
        trials={each.spec.trial_id: each for each in trials},
        running=frozenset(f"t{n:04d}" for n in running),
        **settings,
    )


MIXED = state(
    trial(0, [0.1, 0.2, 0.3, 0.4, 0.4, 0.412], "completed"),
    trial(1, [0.1, 0.213], "pruned"),
    trial(2, [0.1], "failed", detail="CUDA out of memory"),
    trial(3, [0.2, 0.0], "diverged", detail="the loss is nan"),
    trial(4, [0.3, 0.35]),
    running=[4],
)


class FakeClock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_a_finished_trial_is_one_line():
    lines = [ended_line(each, 6) for each in MIXED.trials.values() if each.end]
    assert lines == [
        "t0000 completed at epoch 6/6, objective 0.412 (unet, dice)",
        "t0001 pruned at epoch 2/6, objective 0.213 (unet, dice)",
        "t0002 failed at epoch 1/6 (unet, dice): CUDA out of memory",
        "t0003 diverged at epoch 2/6 (unet, dice): the loss is nan",
    ]


def test_a_failure_keeps_the_line_that_names_the_error():
    traceback = 'Traceback (most recent call last):\n  File "x.py", line 3\nValueError: crop too large\n'
    assert ended_line(trial(0, [], "failed", detail=traceback), 6) == (
        "t0000 failed at epoch 0/6 (unet, dice): ValueError: crop too large"
    )
    assert ended_line(trial(0, [], "failed", detail="the node went away\nmore"), 6).endswith(": the node went away")
    assert ended_line(trial(0, [], "failed"), 6).endswith(": no reason was recorded")
    assert len(ended_line(trial(0, [], "failed", detail="x" * 5000), 6)) < 220


def test_the_counts_name_what_there_is():
    assert counts_text(MIXED) == "4/10 trials ended (1 completed, 1 pruned, 1 diverged, 1 failed), 1 running"
    assert counts_text(state()) == "0/10 trials ended, 0 running"


def test_a_search_that_has_outgrown_its_budget_does_not_exceed_it():
    ended = [trial(n, [0.1], "completed") for n in range(3)]
    assert counts_text(state(*ended, budget_trials=2)) == "3/3 trials ended (3 completed), 0 running"


def test_the_best_is_the_highest_objective_of_what_can_be_used():
    assert best_trial(MIXED.trials.values()).spec.trial_id == "t0000"
    assert best_trial([trial(0, [0.9], "failed"), trial(1, [0.1])]).spec.number == 1
    assert best_trial([trial(1, [0.5]), trial(0, [0.5])]).spec.number == 0
    assert best_trial([trial(0)]) is None


def test_with_several_objectives_the_front_is_counted():
    def measured(number, miou, miss_rate, reason="completed"):
        snapshot = trial(number, [miou], reason)
        epochs = tuple(replace(epoch, metrics={"thing_miss_rate": miss_rate}) for epoch in snapshot.epochs)
        return replace(snapshot, epochs=epochs)

    trials = [measured(0, 0.5, 0.4), measured(1, 0.4, 0.3), measured(2, 0.3, 0.5), measured(3, 0.1, 0.0, "pruned")]
    objectives = ("miou", "thing_miss_rate")
    assert best_text(state(*trials, objectives=objectives)) == "best 0.500 by t0000 (unet, dice), 2 on the front"
    assert best_text(state(*trials)) == "best 0.500 by t0000 (unet, dice)"
    assert best_text(state(trials[3], objectives=objectives)) == "best 0.100 by t0003 (unet, dice)"


def test_epochs_left_before_anything_has_ended_are_full_lengths():
    assert epochs_left(state(budget_trials=10)) == 60
    assert epochs_left(state(trial(0, [0.1, 0.1]), running=[0])) == 4 + 9 * 6


def test_epochs_left_learn_from_stopped_trials():
    # Lengths 2 and 1, and one full 6: trials are expected to take 3 epochs.
    ended = [trial(0, [0.1, 0.1], "pruned"), trial(1, [0.1], "pruned")]
    assert epochs_left(state(*ended, budget_trials=6)) == 4 * 3
    assert epochs_left(state(*ended, trial(2, [0.1]), running=[2], budget_trials=6)) == 2 + 3 * 3


def test_a_running_trial_has_an_epoch_left_at_the_least_and_a_baseline_its_full_length():
    ended = [trial(n, [0.1], "pruned") for n in range(9)]
    assert epochs_left(state(*ended, trial(9, [0.1] * 5), running=[9])) == 1
    assert epochs_left(state(*ended, trial(9, [0.1], baseline=True), running=[9])) == 5
    assert epochs_left(state(*[trial(n, [0.1] * 6, "completed", baseline=True) for n in range(9)])) == 6


def test_no_estimate_from_too_little():
    few = state(trial(0, [0.1] * 3), running=[0])
    assert seconds_left(few, 1060.0) is None
    assert time_text(few, 1060.0) == "estimating the time left"
    many_slots = state(trial(0, [0.1] * 6, "completed"), slots=8)
    assert seconds_left(many_slots, 1060.0) is None


def test_the_estimate_is_epochs_left_by_epochs_a_second():
    # Five epochs in 50 s; (6 - 5) + 9 * 6 = 55 are left.
    assert seconds_left(state(trial(0, [0.1] * 5), running=[0]), 1050.0) == 550.0
    assert time_text(state(trial(0, [0.1] * 5), running=[0]), 1050.0) == "about 9 min left"


def test_epochs_of_earlier_launches_do_not_count_for_the_speed():
    resumed = state(trial(0, [0.1] * 6, "completed"), trial(1, [0.1] * 4), running=[1], epochs_at_start=6)
    assert seconds_left(resumed, 1040.0) == epochs_left(resumed) * 10
    assert seconds_left(state(trial(0, [0.1] * 6, "completed"), epochs_at_start=6), 1040.0) is None


def test_nothing_left_is_zero():
    assert seconds_left(state(trial(0, [0.1] * 6, "completed"), budget_trials=1), 1060.0) == 0


def test_the_time_budget_is_named_where_it_ends_first():
    fast = state(trial(0, [0.1] * 5), running=[0], deadline=1000.0 + 3600)
    assert time_text(fast, 1050.0) == "about 9 min left"
    slow = state(trial(0, [0.1] * 5), running=[0], deadline=1170.0)
    assert time_text(slow, 1050.0) == "the time budget ends in 2 min"
    assert time_text(state(deadline=4600.0), 1000.0) == "the time budget ends in 1 h 0 min"
    assert time_text(state(deadline=900.0), 1000.0) == "the time budget ends in 0 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.7, "1 min"),
        (60, "1 min"),
        (3569, "59 min"),
        (3599, "1 h 0 min"),
        (4800, "1 h 20 min"),
        (172_799, "2 d 0 h"),
        (190_800, "2 d 5 h"),
    ],
)
def test_durations_in_words(seconds, text):
    assert duration(seconds) == text


def test_the_progress_line():
    assert progress_line(MIXED, 1013.0) == (
        "4/10 trials ended (1 completed, 1 pruned, 1 diverged, 1 failed), 1 running; "
        "best 0.412 by t0000 (unet, dice); about 18 s left"
    )
    assert progress_line(state(), 1000.0) == (
        "0/10 trials ended, 0 running; nothing to compare yet; estimating the time left"
    )


def test_running_trials_are_listed_in_the_order_of_their_suggestion():
    both = state(trial(5), trial(4, [0.3, 0.35]), running=[5, 4, 7])
    assert running_rows(both) == [
        ("t0004", "unet", "dice", "epoch 2/6", "0.350"),
        ("t0005", "unet", "dice", "epoch 0/6", ""),
    ]


def plain(clock):
    console = Console(file=io.StringIO(), width=40)
    return PlainView(console, clock), console.file


def test_the_plain_view_prints_once_a_minute():
    clock = FakeClock()
    view, out = plain(clock)
    for _ in range(1200):
        view.show(MIXED)
        clock.now += 0.1
    assert len(out.getvalue().splitlines()) == 2


def test_the_plain_view_prints_whole_lines_without_markup():
    view, out = plain(FakeClock())
    view.trial_ended(trial(0, [], "failed", detail="[red]bad[/red] shape [3, 4]"), MIXED)
    view.say("a line that is longer than the forty columns of this console")
    view.close()
    assert out.getvalue().splitlines() == [
        "t0000 failed at epoch 0/6 (unet, dice): [red]bad[/red] shape [3, 4]",
        "a line that is longer than the forty columns of this console",
    ]


def live(clock, width=80):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=30, color_system=None)
    return LiveView(console, clock), console.file


def test_the_live_view_shows_and_leaves():
    view, out = live(FakeClock())
    view.show(MIXED)
    for part in ("demo", "4/10 trials ended", "best 0.412 by t0000", "t0004", "epoch 2/6", "0.350"):
        assert part in out.getvalue()
    view.trial_ended(MIXED.trials["t0001"], MIXED)
    assert "t0001 pruned at epoch 2/6" in out.getvalue()
    view.close()
    view.close()
    view.say("[afterwards]")
    assert out.getvalue().endswith("[afterwards]\n")


def test_the_live_view_redraws_four_times_a_second_at_the_most():
    clock = FakeClock()
    view, out = live(clock)
    view.show(MIXED)
    first = len(out.getvalue())
    for _ in range(100):
        view.show(MIXED)
    assert len(out.getvalue()) == first
    clock.now += 0.26
    view.show(MIXED)
    assert len(out.getvalue()) > first
    view.close()


def test_a_narrow_terminal_is_no_error():
    console = Console(file=io.StringIO(), width=20, height=5)
    console.print(render(MIXED, 1013.0))
    assert "demo" in console.file.getvalue()


def test_many_running_trials_are_cut_short():
    many = state(*(trial(n) for n in range(40)), running=range(40), budget_trials=40)
    console = Console(file=io.StringIO(), width=80)
    console.print(render(many, 1000.0))
    assert "and 28 more running" in console.file.getvalue()


@pytest.mark.parametrize("make", [live, plain])
def test_a_throttled_show_costs_next_to_nothing(make):
    """It does not look at the trials, however many there are: it is called at every turn of Tune's loop."""
    clock = FakeClock()
    view, _ = make(clock)
    view.show(state(trial(0, [0.1])))
    not_to_be_looked_at = replace(state(), trials=None)
    view.show(not_to_be_looked_at)
    clock.now += 3600
    with pytest.raises((AttributeError, TypeError)):
        view.show(not_to_be_looked_at)
    view.close()


def test_views_may_be_called_from_several_threads():
    view, out = live(time.monotonic)
    view.show(MIXED)
    threads = [threading.Thread(target=lambda n=n: [view.say(f"line {n}.{i}") for i in range(20)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        view.show(MIXED)
    for thread in threads:
        thread.join()
    view.close()
    assert all(f"line {n}.{i}" in out.getvalue() for n in range(4) for i in range(20))


def test_the_view_fits_the_output():
    assert isinstance(make_view(Console(file=io.StringIO())), PlainView)
    assert isinstance(make_view(Console(file=io.StringIO(), force_terminal=True)), LiveView)

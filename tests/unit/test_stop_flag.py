"""The flag that ends a launch early."""

import os
import signal

import pytest

from search.run.stop_flag import StopFlag


def test_without_a_budget_or_a_signal_there_is_no_reason():
    assert StopFlag(None).reason() is None
    assert StopFlag(1.0).reason() is None


def test_a_spent_time_budget_is_a_reason():
    assert StopFlag(0.0).reason() == "the time budget is spent"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_raises_the_flag_and_the_old_handlers_come_back(number):
    before = signal.getsignal(number)
    stop = StopFlag(None)
    with stop.caught_signals():
        assert signal.getsignal(number) is not before
        os.kill(os.getpid(), number)
        assert stop.reason() == signal.Signals(number).name
        assert signal.getsignal(number) is before, "a second signal acts as it would have without us"
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_ignored():
    """`nohup` ignores SIGHUP for the search that it starts."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = StopFlag(None)
        with stop.caught_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.reason() is None
    finally:
        signal.signal(signal.SIGHUP, before)

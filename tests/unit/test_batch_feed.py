"""Batches in order, one at a time, and no thread that outlives its loop."""

import threading
import time

import pytest
import torch

from trainable.batches.batch_feed import BatchFeed
from trainable.errors import InputError


def number(step, each=map):
    """A batch that says which it is."""
    return torch.tensor(step), torch.tensor(-step)


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("batch-feed")]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_hands_out_every_batch_once_and_in_order(count):
    with BatchFeed(number, 5, threads=count) as feed:
        assert [(int(images), int(target)) for images, target in feed] == [(0, 0), (1, -1), (2, -2), (3, -3), (4, -4)]


def test_the_next_batch_is_drawn_while_the_loop_is_busy_with_one():
    drawn = [threading.Event() for _ in range(3)]

    def draw(step, each):
        drawn[step].set()
        return number(step)

    with BatchFeed(draw, 3, threads=2) as feed:
        for step, _ in enumerate(feed):
            assert step == 2 or drawn[step + 1].wait(timeout=60)


def test_no_more_than_one_batch_is_drawn_ahead():
    """While a batch is drawn, the loop has, or is just given, the one before."""
    current, ahead = -1, []

    def draw(step, each):
        ahead.append(step - current)
        return number(step)

    with BatchFeed(draw, 20, threads=2) as feed:
        for step, _ in enumerate(feed):
            current = step
            time.sleep(0.001)
    assert len(ahead) == 20
    assert 1 <= max(ahead) <= 2


def test_an_error_of_drawing_is_raised_as_it_is_where_its_batch_would_come():
    def draw(step, each):
        if step == 2:
            raise InputError("a rule", "a value", "Do this")
        return number(step)

    with BatchFeed(draw, 4, threads=2) as feed:
        batches = iter(feed)
        assert [int(next(batches)[0]) for _ in range(2)] == [0, 1]
        with pytest.raises(InputError, match=r"a rule; got a value\. Do this"):
            next(batches)
    assert threads() == []


def test_the_threads_end_with_the_feed():
    with BatchFeed(number, 2, threads=2) as feed:
        assert len(list(feed)) == 2
        assert len(threads()) == 1, "no crop was made"
    assert threads() == []


def test_crops_of_a_batch_are_made_side_by_side_each_by_one_maths_thread():
    before = torch.get_num_threads()
    all_at_once = threading.Barrier(3)
    maths_threads = []

    def make(place):
        all_at_once.wait(timeout=60)
        maths_threads.append(torch.get_num_threads())

    def draw(step, each):
        list(each(make, range(3)))
        return number(step)

    with BatchFeed(draw, 2, threads=3) as feed:
        assert len(list(feed)) == 2
    assert maths_threads == [1] * 6
    assert torch.get_num_threads() == before, "the network keeps its own"
    assert threads() == []


def test_what_making_a_crop_raises_is_raised_where_its_batch_would_come():
    def make(place):
        if place == 1:
            raise InputError("a rule", "a value", "Do this")

    def draw(step, each):
        list(each(make, range(4)))
        return number(step)

    with BatchFeed(draw, 3, threads=2) as feed, pytest.raises(InputError, match="a rule"):
        next(iter(feed))
    assert threads() == []


def test_a_loop_that_is_left_leaves_no_thread_and_draws_no_more():
    drawn = []

    def draw(step, each):
        drawn.append(step)
        return number(step)

    def loop():
        with BatchFeed(draw, 100, threads=2) as feed:
            for _ in feed:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        loop()
    assert threads() == [], f"while {caught.value!r} still holds the frames of the loop"
    assert drawn == [0, 1]


def test_counts_the_seconds_that_the_loop_waited(monkeypatch):
    clock = iter([10.0, 10.5, 20.0, 20.25, 30.0, 30.125])  # before and after each of three waits
    monkeypatch.setattr("trainable.batches.batch_feed.time.perf_counter", lambda: next(clock))
    with BatchFeed(lambda step, each: number(step), 3, threads=2) as feed:
        assert feed.waited == 0
        for _ in feed:
            pass
    assert feed.waited == 0.875


def test_without_a_thread_a_batch_is_drawn_when_it_is_wanted_and_drawing_is_waiting():
    drawn = []

    def draw(step, each):
        drawn.append(step)
        time.sleep(0.05)
        return number(step)

    with BatchFeed(draw, 3, threads=0) as feed:
        for step, _ in enumerate(feed):
            assert drawn == list(range(step + 1))
            assert threads() == []
    assert feed.waited >= 0.15

from itertools import product

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainable.data.scene_split import choose_dev_scenes, draw_scenes


@st.composite
def incidences(draw, scenes: tuple[int, int], classes: tuple[int, int] = (1, 6)):
    """Scene of each sample and pixels of each class: a few samples a scene, classes at random in them."""
    count, labels = draw(st.integers(*scenes)), draw(st.integers(*classes))
    sizes = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    names = [f"s{scene}" for scene, size in enumerate(sizes) for _ in range(size)]
    density = draw(st.floats(0.05, 0.9))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    present = random.random((len(names), labels)) < density
    return random.permutation(names).tolist(), present * random.integers(1, 500, present.shape)


def scenes_of(label: int, scenes: list[str], counts: np.ndarray) -> set[str]:
    return {scene for scene, row in zip(scenes, counts, strict=True) if row[label] > 0}


def violations(dev: set[str], scenes: list[str], counts: np.ndarray) -> tuple[int, int]:
    """From the definition: classes of two scenes on one side only, and classes of one scene taken from train."""
    one_sided = taken = 0
    for label in range(counts.shape[1]):
        having = scenes_of(label, scenes, counts)
        if len(having) >= 2 and (having <= dev or not having & dev):
            one_sided += 1
        if len(having) == 1 and having <= dev:
            taken += 1
    return one_sided, taken


@settings(deadline=None)  # cores are shared
@given(incidences((2, 7)), st.floats(0.05, 0.6), st.integers(0, 5))
def test_no_choice_of_scenes_breaks_fewer_rules(incidence, share, seed):
    scenes, counts = incidence
    names = sorted(set(scenes))
    choice = choose_dev_scenes(scenes, counts, share, seed)
    dev = set(choice.dev_scenes)
    assert dev < set(names)
    assert dev
    every = [{n for n, taken in zip(names, pick, strict=True) if taken} for pick in product([0, 1], repeat=len(names))]
    best = min(violations(other, scenes, counts) for other in every if 0 < len(other) < len(names))
    assert violations(dev, scenes, counts) == best


@settings(deadline=None)  # cores are shared
@given(incidences((2, 30)), st.floats(0.05, 0.6), st.integers(0, 5))
def test_every_class_that_is_not_on_both_sides_is_named(incidence, share, seed):
    scenes, counts = incidence
    choice = choose_dev_scenes(scenes, counts, share, seed)
    dev = set(choice.dev_scenes)
    for label in range(counts.shape[1]):
        having = scenes_of(label, scenes, counts)
        both = bool(having & dev) and bool(having - dev)
        named = any(warning.startswith(f"class {label}:") for warning in choice.warnings)
        assert named == (bool(having) and not both)


@settings(deadline=None)  # cores are shared
@given(incidences((2, 30)), st.floats(0.05, 0.6), st.integers(0, 5))
def test_the_choice_is_deterministic_and_blind_to_sample_order(incidence, share, seed):
    scenes, counts = incidence
    choice = choose_dev_scenes(scenes, counts, share, seed)
    assert choose_dev_scenes(scenes, counts, share, seed) == choice
    order = np.random.default_rng(seed).permutation(len(scenes))
    assert choose_dev_scenes([scenes[i] for i in order], counts[order], share, seed) == choice


@settings(deadline=None)  # cores are shared
@given(st.integers(13, 40), st.integers(1, 10), st.data())
def test_a_feasible_choice_is_found_among_many_scenes(count, labels, data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    planted = random.permutation(count) < data.draw(st.integers(1, count - 1))
    counts = np.zeros((count, labels), dtype=np.int64)
    for label in range(labels):  # one scene on each side, and up to two anywhere
        chosen = [random.choice(np.flatnonzero(planted)), random.choice(np.flatnonzero(~planted))]
        counts[chosen + random.integers(0, count, random.integers(0, 3)).tolist(), label] = 7
    scenes = [f"s{i}" for i in range(count)]
    choice = choose_dev_scenes(scenes, counts, 0.2, seed=0)
    assert violations(set(choice.dev_scenes), scenes, counts) == (0, 0)


@settings(deadline=None)  # cores are shared
@given(incidences((20, 60), classes=(1, 4)), st.floats(0.1, 0.4), st.integers(0, 5))
def test_the_share_is_close_where_no_class_is_rare(incidence, share, seed):
    scenes, counts = incidence
    assume(all(len(scenes_of(label, scenes, counts)) >= 15 for label in range(counts.shape[1])))
    dev = set(choose_dev_scenes(scenes, counts, share, seed).dev_scenes)
    assert abs(sum(scene in dev for scene in scenes) / len(scenes) - share) < 0.06


@settings(deadline=None)  # cores are shared
@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(1, 50), min_size=2, max_size=30),
    st.floats(0.05, 0.9),
    st.integers(0, 9),
)
def test_drawn_scenes_are_within_half_of_the_largest_scene_of_the_share(images, share, seed):
    drawn = draw_scenes(images, share * sum(images.values()), seed)
    assert drawn
    assert set(drawn) < set(images)
    total = sum(images[scene] for scene in drawn)
    assert total - share * sum(images.values()) <= max(images.values())
    assert draw_scenes(dict(reversed(images.items())), share * sum(images.values()), seed) == drawn

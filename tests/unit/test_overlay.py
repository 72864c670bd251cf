import numpy as np
from matplotlib.figure import Figure

from analysis.subjects.canvas import styled
from analysis.subjects.overlay import color_labels, name_classes, overlay

COLORS = np.array([[200, 0, 0], [0, 100, 0]], dtype=np.uint8)


def named(labels, names, size=(4, 3)):
    """The names that are written, with the box in pixels of the figure that each really takes."""
    with styled():
        figure = Figure(figsize=size)
        axes = figure.subplots()
        axes.imshow(np.zeros((*labels.shape, 3)))
        name_classes(axes, labels, names)
        figure.draw_without_rendering()
        return axes, {text.get_text(): text.get_window_extent() for text in axes.texts}


def test_labels_take_their_class_color_and_ignored_ones_are_white():
    labels = np.array([[0, 1, 255]], dtype=np.uint8)
    assert color_labels(labels, COLORS).tolist() == [[[200, 0, 0], [0, 100, 0], [255, 255, 255]]]


def test_an_overlay_blends_with_luminance_and_leaves_ignored_pixels_grey():
    image = np.array([[[100, 50, 10], [0, 255, 0], [10, 20, 30]]], dtype=np.uint8)
    drawn = overlay(image, np.array([[0, 1, 255]], dtype=np.uint8), COLORS, alpha=0.25)
    # Luminances 60.39, 149.685 and 18.15.
    assert drawn.tolist() == [[[95, 45, 45], [112, 137, 112], [18, 18, 18]]]


def test_each_class_is_named_once_on_its_largest_component_and_specks_are_not():
    labels = np.zeros((200, 300), dtype=np.uint8)
    labels[20:80, 200:290] = 1
    labels[150:160, 10:20] = 1
    labels[100, 100] = 2
    axes, boxes = named(labels, ["ground", "car", "speck"])
    assert set(boxes) == {"ground", "car"}
    column, row = next(text.get_position() for text in axes.texts if text.get_text() == "car")
    assert 200 <= column < 290
    assert 20 <= row < 80


def test_names_do_not_cover_each_other_or_leave_the_image():
    labels = np.zeros((200, 300), dtype=np.uint8)
    for label, (row, column) in enumerate([(0, 0), (0, 292), (100, 150), (103, 154), (192, 0)], start=1):
        labels[row : row + 8, column : column + 8] = label
    names = ["ground", "top left corner", "top right corner", "one", "other", "bottom left"]
    axes, boxes = named(labels, names)
    assert set(names[1:]) <= set(boxes)
    inside = axes.get_window_extent()
    for name, box in boxes.items():
        assert inside.x0 - 1 <= box.x0 < box.x1 <= inside.x1 + 1, name
        assert inside.y0 - 1 <= box.y0 < box.y1 <= inside.y1 + 1, name
    values = list(boxes.values())
    assert not any(one.overlaps(other) for i, one in enumerate(values) for other in values[:i])


def test_a_name_lies_beside_a_thing_that_it_would_hide():
    labels = np.zeros((200, 300), dtype=np.uint8)
    labels[100:106, 150:156] = 1
    axes, _ = named(labels, ["ground", "person"])
    _, row = next(text.get_position() for text in axes.texts if text.get_text() == "person")
    assert row < 100


def test_a_name_without_a_free_place_is_left_to_the_legend():
    labels = np.zeros((30, 30), dtype=np.uint8)
    labels[13:17, 13:17] = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    _, boxes = named(labels, ["ground", *(f"class number {i}" for i in range(16))], size=(1.2, 1.2))
    assert 3 < len(boxes) < 12
    values = list(boxes.values())
    assert not any(one.overlaps(other) for i, one in enumerate(values) for other in values[:i])


def test_ignored_pixels_alone_have_no_name():
    assert named(np.full((20, 30), 255, dtype=np.uint8), ["ground"])[1] == {}

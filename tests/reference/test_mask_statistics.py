"""The statistics of masks against the seed study's loop, and against stretching written from its definition."""

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.evidence.mask_statistics import count_masks
from trainable.data.image_set import ImageSet, LabelClass, MaskEncoding, Sample

CLASSES = tuple(LabelClass(name, (9 * i, 0, 0), name in "bd") for i, name in enumerate("abcd"))


def write_set(folder, masks):
    samples = []
    for number, mask in enumerate(masks):
        path = folder / f"{number}.png"
        Image.fromarray(mask).save(path)
        samples.append(Sample(f"{number}", folder / "no image", path, f"s{number // 2}", "train"))
    return ImageSet("made", CLASSES, MaskEncoding("ids", ids={0: 0, 1: 1, 2: 2, 3: 3, 200: 255}), tuple(samples))


def draw_masks(shapes):
    random = np.random.default_rng(5)
    return [random.choice([0, 1, 2, 3, 200], shape, p=[0.5, 0.1, 0.2, 0.05, 0.15]).astype(np.uint8) for shape in shapes]


def test_counts_and_presence_are_those_of_the_one_hot_loop(tmp_path):
    masks = draw_masks([(11, 17)] * 9)
    statistics = count_masks(write_set(tmp_path, masks))
    presence, pixels = np.zeros((11, 17, 4)), []
    for mask in masks:
        labels = torch.tensor(np.where(mask == 200, 4, mask)).long()
        one_hot = torch.nn.functional.one_hot(labels, 5)[:, :, :4]
        pixels.append(one_hot.sum(dim=(0, 1)).tolist())
        presence += one_hot.numpy()
    assert statistics.pixel_counts.tolist() == pixels
    assert statistics.grid == (11, 17)
    assert not statistics.sizes_differ
    assert not statistics.resampled
    np.testing.assert_array_equal(statistics.presence, presence[:, :, [1, 3]].transpose(2, 0, 1))


def test_ninths_are_those_of_a_loop_over_pixels(tmp_path):
    masks = draw_masks([(7, 10), (10, 5)])
    statistics = count_masks(write_set(tmp_path, masks))
    for mask, found in zip(masks, statistics.thing_ninths, strict=True):
        expected = np.zeros((2, 3, 3), dtype=int)
        for row, column in np.ndindex(mask.shape):
            for thing, label in enumerate((1, 3)):
                if mask[row, column] == label:
                    expected[thing, 3 * row // mask.shape[0], 3 * column // mask.shape[1]] += 1
        assert found.tolist() == expected.tolist()


def stretch(plane, grid):
    """The mean of the pixels whose middle lies in a cell; where none does, the pixel that the cell's middle lies in."""
    height, width = plane.shape
    cells = np.zeros(grid)
    for i, j in np.ndindex(grid):
        rows = [r for r in range(height) if i * height < (r + 0.5) * grid[0] <= (i + 1) * height]
        columns = [c for c in range(width) if j * width < (c + 0.5) * grid[1] <= (j + 1) * width]
        rows = rows or [int((i + 0.5) * height / grid[0])]
        columns = columns or [int((j + 0.5) * width / grid[1])]
        cells[i, j] = plane[np.ix_(rows, columns)].mean()
    return cells


@pytest.mark.parametrize(
    "shapes", [[(9, 14), (9, 14), (20, 34)], [(9, 14), (9, 14), (9, 34)], [(9, 14), (9, 14), (5, 6)]]
)
def test_masks_of_other_sizes_are_stretched_to_the_median_size(tmp_path, shapes):
    masks = draw_masks(shapes)
    statistics = count_masks(write_set(tmp_path, masks))
    assert statistics.grid == (9, 14)
    assert statistics.sizes_differ
    assert statistics.resampled
    for thing, label in enumerate((1, 3)):
        expected = sum(stretch(mask == label, (9, 14)) for mask in masks)
        np.testing.assert_allclose(statistics.presence[thing], expected, atol=1e-5)

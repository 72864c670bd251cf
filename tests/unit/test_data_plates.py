import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.evidence.mask_statistics import count_masks
from analysis.report.figures import data_plates
from analysis.subjects.canvas import styled
from analysis.subjects.example_images.table import choose_examples, counted_classes, load_example
from analysis.subjects.palette import CLASS_COLORS, SAFE_COLORS
from analysis.subjects.plate import Plate, Unavailable
from trainable.data.dataset_config import DatasetConfig
from trainable.data.image_set import ImageSet, LabelClass, MaskEncoding, Sample
from trainable.data.read_image_set import read_image_set
from trainable.data.scene_split import SplitAssignment, assign_splits

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("AEROSWEEP_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
KEYS = ["class_distribution", "class_distribution_log", "average_image", "average_image_by_class", "example_images"]

# classes: 0 ground, 1 car, 2 bike, 3 water
COUNTS = np.array(
    [[90, 9, 1, 0], [80, 20, 0, 0], [97, 2, 1, 0], [70, 30, 0, 0], [99, 1, 0, 0], [50, 0, 0, 50], [0, 0, 0, 0]]
)
SCENES = ["a", "a", "b", "b", "c", "c", "c"]


def chosen(counts=COUNTS, rows=range(7), scenes=SCENES, things=(1, 2)):
    return [(choice.row, choice.reason) for choice in choose_examples(counts, rows, scenes, things)]


def test_examples_are_chosen_by_rule_from_different_scenes():
    assert chosen() == [
        (0, "most thing classes"),  # 2 of them, and more pixels than row 2
        (3, "largest share of thing classes"),  # row 1 is of the same scene as row 0
        (5, "median share of thing classes"),  # the lower of rows 4 and 5
    ]
    first = choose_examples(COUNTS, range(7), SCENES, (1, 2))[0]
    assert (first.classes, first.share) == (2, pytest.approx(0.1))


def test_examples_come_from_the_same_scene_where_there_is_no_other_and_are_never_the_same_image():
    assert [row for row, _ in chosen(scenes=["a"] * 7)] == [0, 3, 4]  # of shares 0, .01, .03 and .2
    assert [row for row, _ in chosen(rows=[4, 6])] == [4]
    assert chosen(rows=[6]) == []


def test_without_things_all_but_the_most_frequent_class_count():
    assert counted_classes(COUNTS, ()) == ("classes other than the most frequent", (1, 2, 3))
    assert counted_classes(COUNTS, (3,)) == ("thing classes", (3,))
    assert counted_classes(COUNTS[:5], (3,)) == ("classes other than the most frequent", (1, 2))
    assert counted_classes(COUNTS[:1] * [1, 0, 0, 0], (1,)) == ("classes", (0, 1, 2, 3))
    assert chosen(things=())[0] == (0, "most classes other than the most frequent")


def write_set(folder, masks, things=(1,), names=("ground", "car", "bike"), colors=None):
    """A set of these masks, two a scene, the last scene val."""
    random = np.random.default_rng(0)
    samples = []
    for i, mask in enumerate(masks):
        image, file = folder / f"{i}.png", folder / f"{i}m.png"
        Image.fromarray(random.integers(0, 256, (*mask.shape, 3), dtype=np.uint8)).save(image)
        Image.fromarray(mask).save(file)
        samples.append(Sample(f"i{i:02d}", image, file, f"s{i // 2}", "val" if i >= len(masks) - 2 else "train"))
    ids = {label: label for label in [*range(len(names)), 255]}
    classes = [LabelClass(name, (40 * i % 256, 100, 200), i in things) for i, name in enumerate(names)]
    return ImageSet("made", tuple(classes), MaskEncoding("ids", ids=ids), tuple(samples))


def draw_masks(count, classes, seed=1, size=(60, 90)):
    random = np.random.default_rng(seed)
    masks = np.zeros((count, *size), dtype=np.uint8)
    for mask in masks:
        for label in range(1, classes):
            row, column = random.integers(0, size[0] - 12), random.integers(0, size[1] - 12)
            mask[row : row + 12, column : column + 12] = label
    return masks


def build(image_set, splits=None, **options):
    """The plates by key, or the reason why there is none."""
    statistics = count_masks(image_set)
    splits = splits or assign_splits(image_set, statistics.pixel_counts, 0.3, 0)
    built = {}
    for key, (title, make) in zip(KEYS, data_plates(image_set, statistics, splits, **options), strict=True):
        try:
            built[key] = make()
            assert (built[key].key, built[key].title) == (key, title)
        except Unavailable as reason:
            built[key] = str(reason)
    return built


def draw_all(plates, palette=CLASS_COLORS):
    with styled():
        for plate in plates.values():
            if isinstance(plate, Plate):
                plate.draw(palette).draw_without_rendering()


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    return read_image_set(DatasetConfig(layout="synthetic", images=40, size="96x160"), folder)


def test_a_set_with_an_absent_class_has_all_plates(synthetic):
    plates = build(synthetic)
    assert all(isinstance(plate, Plate) for plate in plates.values())
    draw_all({key: plate for key, plate in plates.items() if not plate.shows_classes})
    draw_all({key: plate for key, plate in plates.items() if plate.shows_classes}, SAFE_COLORS)
    assert plates["class_distribution"].says.endswith("No mask has a pixel of boat.")
    assert "of dev counted to train." in plates["class_distribution"].shows
    assert "; none: the split has no pixel of the class." in plates["class_distribution_log"].shows
    assert plates["average_image"].says.endswith("Not drawn, because no mask has a pixel of it: boat.")
    assert "boat" not in set(plates["average_image_by_class"].table["class"])
    assert [key for key, plate in plates.items() if plate.shows_classes] == ["average_image", "example_images"]
    assert [key for key, plate in plates.items() if plate.photographs] == ["example_images"]


def test_dev_can_be_shown_apart(synthetic):
    plate = build(synthetic, dev_apart=True)["class_distribution"]
    assert plate.table["split"].unique().tolist() == ["train", "dev", "val"]
    assert "counted to train" not in plate.shows


def test_the_examples_figure_names_its_images_the_rule_and_all_classes(synthetic):
    plate = build(synthetic)["example_images"]
    with styled():
        figure = plate.draw(CLASS_COLORS)
        figure.draw_without_rendering()
        jpeg = io.BytesIO()
        figure.savefig(jpeg, format="jpeg", dpi=150)
    assert len(jpeg.getvalue()) < 600_000
    titles = [row._suptitle.get_text() for row in figure.subfigs]
    images = plate.table["image"].unique().tolist()
    assert [title.split(":")[0] for title in titles] == images
    assert len(images) == len({image.split("_")[0] for image in images}) == 3  # scenes
    assert "most thing classes" in titles[0]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == ["background", "person (thing)"]
    assert len(legend) == 12
    assert [axes.get_title() for axes in figure.axes[:3]] == ["Raw", "Label", "Overlay"]
    assert plate.table.groupby("image")["pixels"].sum().tolist() == [96 * 160] * 3
    splits = {sample.id: sample.split for sample in synthetic}
    assert {splits[image] for image in images} == {"train"}
    assert images[0] in plate.alt


def test_two_classes(tmp_path):
    plates = build(write_set(tmp_path, draw_masks(6, 2), names=("ground", "car")))
    assert all(isinstance(plate, Plate) for plate in plates.values())
    draw_all(plates)
    assert plates["average_image_by_class"].says == ""
    assert plates["example_images"].says == ""  # a handful of images


def test_twenty_five_classes_with_long_names(tmp_path):
    names = [f"a class with a long name {i}" for i in range(25)]
    plates = build(write_set(tmp_path, draw_masks(6, 25), range(8, 25), names))
    assert all(isinstance(plate, Plate) for plate in plates.values())
    draw_all({key: plates[key] for key in ("average_image", "average_image_by_class", "example_images")})


def test_without_things_there_is_no_average_image_and_the_rest_stands(tmp_path):
    plates = build(write_set(tmp_path, draw_masks(6, 3), things=()))
    assert "no thing class" in plates["average_image"]
    assert "thing: true" in plates["average_image_by_class"]
    draw_all(plates)
    assert "most classes other than the most frequent" in plates["example_images"].shows


def test_things_that_never_occur_have_no_average_image(tmp_path):
    plates = build(write_set(tmp_path, draw_masks(6, 2), things=(2,)))
    assert "none of the thing classes occurs (bike)" in plates["average_image"]
    assert "No mask has a pixel of bike." in plates["class_distribution"].says
    draw_all(plates)


def test_ignored_pixels_alone_give_reasons_and_no_figure(tmp_path):
    masks = np.full((4, 20, 30), 255, dtype=np.uint8)
    plates = build(write_set(tmp_path, masks), SplitAssignment((0,), (1,), (2, 3)))
    assert [str(reason).split(":")[0] for reason in plates.values()] == [
        "No class distribution", "No class distribution", "No average image of things", "No average image of things",
        "No example images",
    ]  # fmt: skip


def test_a_split_of_ignored_pixels_is_left_out_and_said_so(tmp_path):
    masks = draw_masks(6, 3)
    masks[4:] = 255
    plates = build(write_set(tmp_path, masks))
    assert plates["class_distribution"].says.endswith("Left out, without a labelled pixel: val.")
    assert plates["class_distribution"].table["split"].unique().tolist() == ["train"]
    draw_all(plates)


def test_one_image_of_train_is_one_example(tmp_path):
    image_set = write_set(tmp_path, draw_masks(3, 3))
    plate = build(image_set, SplitAssignment((0,), (), (1, 2)))["example_images"]
    assert plate.shows.startswith("One image of train:")
    assert plate.table["image"].unique().tolist() == ["i00"]
    draw_all({"": plate})


def test_images_of_different_sizes_are_stretched_and_said_so(tmp_path):
    masks = [*draw_masks(4, 3), *draw_masks(2, 3, size=(40, 100))]
    plates = build(write_set(tmp_path, masks))
    assert "; the images differ in size and were stretched to 90 x 60." in plates["average_image"].shows
    draw_all(plates)


def test_a_large_image_is_reduced_and_its_labels_stay_labels(tmp_path):
    image_set = write_set(tmp_path, draw_masks(4, 3, size=(400, 800)))
    (choice, *_) = choose_examples(count_masks(image_set).pixel_counts, [0], ["s"], (1,))
    example = load_example(image_set, choice)
    assert example.pixels.shape == (320, 640, 3)
    assert set(np.unique(example.labels)) == {0, 1, 2}
    assert example.reduced == 1.25
    plate = build(image_set, SplitAssignment((0, 1), (), (2, 3)))["example_images"]
    assert "reduced for drawing" in plate.shows


def test_an_image_that_cannot_be_read_is_a_reason(tmp_path):
    image_set = write_set(tmp_path, draw_masks(6, 3))
    gone = tuple(replace(sample, image=tmp_path / "gone.png") for sample in image_set)
    assert "no such file" in build(replace(image_set, samples=gone))["example_images"]


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no folder {DATA}; set AEROSWEEP_TEST_DATA to the real images")
def test_real_tiles():
    description = REPOSITORY / "examples/dubai_tiles.yaml"
    config = DatasetConfig(layout="described", description=description, root=DATA / "dubai")
    whole = read_image_set(config, Path("unused"))
    plates = build(replace(whole, samples=whole.samples[::6]))
    assert all(isinstance(plate, Plate) for plate in plates.values())
    draw_all(plates)
    shares = plates["class_distribution"].table
    assert shares["class"].iloc[0] == "land"

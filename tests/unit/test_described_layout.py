from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from trainable.data.dataset_yaml import Description, load_description, scan_description
from trainable.data.files.masks import decode_pair
from trainable.data.image_set import IGNORED
from trainable.data.layouts.described_layout import read_described, scan_described
from trainable.errors import InputError

BASE = {
    "name": "tiles",
    "root": "data",
    "images": "*/images/*.jpg",
    "masks": "*/masks/*.png",
    "encoding": "rgb",
    "classes": [
        {"name": "roof", "color": "#3C1098", "thing": True},
        {"name": "land", "colors": ["#8429F6", [1, 2, 3]]},
    ],
    "ignored": ["#000000"],
    "scene_regex": "^Tile [0-9]+",
    "split": {"by": "scene", "train": ["Tile 1"], "dev": ["Tile 2"], "val": ["Tile 3"]},
}
IDS = {
    "encoding": "ids",
    "classes": [{"name": "a", "id": 4}, {"name": "b", "id": 300, "color": [9, 8, 7]}],
    "ignored": [0, 255],
}


def write(tmp_path: Path, changes: dict | None = None, tiles: int = 3, images: int = 2) -> Path:
    """A set of tiles beside its description; images are numbered alike in every tile."""
    for tile in range(1, tiles + 1):
        for folder in ("images", "masks"):
            (tmp_path / f"data/Tile {tile}/{folder}").mkdir(parents=True, exist_ok=True)
        for number in range(images):
            Image.new("RGB", (6, 4), (50, 60, 70)).save(tmp_path / f"data/Tile {tile}/images/part_{number}.jpg")
            Image.new("RGB", (6, 4), (0x84, 0x29, 0xF6)).save(tmp_path / f"data/Tile {tile}/masks/part_{number}.png")
    path = tmp_path / "set.yaml"
    path.write_text(yaml.safe_dump(BASE | (changes or {})))
    return path


def splits(image_set) -> dict[str, str]:
    return {sample.id: sample.split for sample in image_set}


def test_reads_pairs_by_their_wildcards(tmp_path):
    image_set = read_described(write(tmp_path))
    assert [(s.id, s.scene, s.split) for s in image_set] == [
        ("Tile 1/part_0", "Tile 1", "train"),
        ("Tile 1/part_1", "Tile 1", "train"),
        ("Tile 2/part_0", "Tile 2", "dev"),
        ("Tile 2/part_1", "Tile 2", "dev"),
        ("Tile 3/part_0", "Tile 3", "val"),
        ("Tile 3/part_1", "Tile 3", "val"),
    ]
    assert image_set.samples[3].mask == tmp_path / "data/Tile 2/masks/part_1.png"
    assert (image_set.name, image_set.warnings, image_set.thing_labels) == ("tiles", (), (0,))
    assert image_set.encoding.colors == {(0x3C, 0x10, 0x98): 0, (0x84, 0x29, 0xF6): 1, (1, 2, 3): 1, (0, 0, 0): IGNORED}
    assert image_set.classes[1].color == (0x84, 0x29, 0xF6)
    _, labels = decode_pair(image_set.samples[0], image_set.encoding)
    assert np.array_equal(labels, np.ones((4, 6)))


def test_ids_encoding_and_figure_colors(tmp_path):
    description = load_description(write(tmp_path, IDS))
    assert description.mask_encoding.ids == {4: 0, 300: 1, 0: IGNORED, 255: IGNORED}
    first, second = description.label_classes
    assert second.color == (9, 8, 7)
    assert first.color != second.color


def test_root_can_be_overridden(tmp_path):
    path = write(tmp_path)
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"root of a described set must be a folder; got .*data: no such folder"):
        read_described(path)
    assert len(read_described(path, tmp_path / "moved")) == 6


def test_description_survives_json():
    description = Description.model_validate(BASE)
    assert Description.model_validate_json(description.model_dump_json()) == description


@pytest.mark.parametrize(
    ("regex", "scene"), [("^Tile [0-9]+", "Tile 1"), ("^Tile ([0-9]+)", "1"), ("part_.", "part_0")]
)
def test_scene_is_group_one_or_the_whole_match(tmp_path, regex, scene):
    path = write(tmp_path, {"scene_regex": regex, "split": {"by": "share", "val": 0.4}})
    assert read_described(path).samples[0].scene == scene


def test_scene_regex_that_misses_an_id_names_it(tmp_path):
    path = write(tmp_path, {"scene_regex": "^Tile [12]"})
    with pytest.raises(InputError, match=r"must find a scene in every id; got .*'Tile 3/part_0'"):
        read_described(path)


def test_no_scene_regex_warns(tmp_path):
    path = write(tmp_path, {"scene_regex": None, "split": {"by": "share", "val": 0.5}})
    image_set = read_described(path)
    assert {sample.scene for sample in image_set} == {sample.id for sample in image_set}
    assert "each image is taken for a scene of its own" in image_set.warnings[0]


def test_split_by_list_warns_of_unused_images(tmp_path):
    path = write(tmp_path, {"split": {"by": "list", "train": "t.txt", "dev": "d.txt", "val": "v.txt"}})
    (tmp_path / "data/t.txt").write_text("Tile 1/part_0\nTile 1/part_1\n")
    (tmp_path / "data/d.txt").write_text("Tile 2/part_1\n")
    (tmp_path / "data/v.txt").write_text("Tile 3/part_0\n")
    image_set = read_described(path)
    assert splits(image_set) == {
        "Tile 1/part_0": "train", "Tile 1/part_1": "train", "Tile 2/part_1": "dev", "Tile 3/part_0": "val",
    }  # fmt: skip
    assert image_set.warnings == ("2 images are in no split and are not used (Tile 2/part_0, Tile 3/part_1).",)


def test_lists_that_share_a_scene_or_repeat_or_invent_ids_are_refused(tmp_path):
    path = write(tmp_path, {"split": {"by": "list", "train": "t.txt", "val": "v.txt"}})
    (tmp_path / "data/t.txt").write_text("Tile 1/part_0\nTile 2/part_0\nTile 2/part_0\nTile 9/part_0\n")
    (tmp_path / "data/v.txt").write_text("Tile 1/part_1\n")
    _, problems = scan_described(load_description(path), tmp_path / "data", path)
    found = " ".join(problem.problem for problem in problems)
    assert "each id of split.train must be one that the globs find; got 'Tile 9/part_0'" in found
    assert "got Tile 2/part_0 2 times" in found
    assert "scene Tile 1 in train and val" in found
    (tmp_path / "data/v.txt").unlink()
    with pytest.raises(InputError, match="must be one that the globs find"):
        read_described(path)


def test_split_by_share_takes_whole_scenes_of_about_the_share(tmp_path):
    path = write(tmp_path, {"split": {"by": "share", "val": 0.3, "dev": 0.2, "seed": 3}}, tiles=10, images=1)
    found = splits(read_described(path))
    assert sorted(found.values()) == ["dev"] * 2 + ["train"] * 5 + ["val"] * 3
    assert splits(read_described(path)) == found
    other = write(tmp_path, {"split": {"by": "share", "val": 0.3, "dev": 0.2, "seed": 4}}, tiles=10, images=1)
    assert splits(read_described(other)) != found


def test_split_by_share_needs_scenes(tmp_path):
    path = write(tmp_path, {"split": {"by": "share", "val": 0.3, "dev": 0.2}}, tiles=2)
    with pytest.raises(InputError, match=r"must have 3 scenes or more; got .*scenes \['Tile 1', 'Tile 2'\]"):
        read_described(path)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"train": ["Tile 1"], "val": ["Tile 9"]}, "each scene of split.val must exist; got .*'Tile 9'"),
        ({"train": ["Tile 1"], "dev": ["Tile 1"], "val": ["Tile 3"]}, "must lie in one split; got .*in train and dev"),
        ({"train": [], "val": ["Tile 3"]}, "the train split must have an image"),
        ({"train": ["Tile 3"], "val": []}, "the val split must have an image"),
    ],
)
def test_impossible_scene_splits(tmp_path, split, message):
    with pytest.raises(InputError, match=message):
        read_described(write(tmp_path, {"split": {"by": "scene"} | split}))


def test_lonely_files_are_refused(tmp_path):
    path = write(tmp_path)
    (tmp_path / "data/Tile 1/masks/part_0.png").unlink()
    (tmp_path / "data/Tile 2/images/part_1.jpg").unlink()
    _, problems = scan_described(load_description(path), tmp_path / "data", path)
    assert [(problem.file, problem.problem) for problem in problems] == [
        (
            tmp_path / "data/Tile 1/images/part_0.jpg",
            "every image must have its mask, of the same id; got no mask with id 'Tile 1/part_0'",
        ),
        (
            tmp_path / "data/Tile 2/masks/part_1.png",
            "every mask must have its image, of the same id; got no image with id 'Tile 2/part_1'",
        ),
    ]


def test_globs_that_match_nothing_or_not_uniquely(tmp_path):
    with pytest.raises(InputError, match=r"glob of the images must match files; got .*no file for '\*/images/\*.png'"):
        read_described(write(tmp_path, {"images": "*/images/*.png"}))
    path = write(tmp_path, {"images": "Tile [12]/images/*.jpg", "masks": "Tile [12]/masks/*.png", "scene_regex": None})
    with pytest.raises(InputError, match="what the wildcards of the glob of the images match must be unique"):
        read_described(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": BASE["classes"] + [{"name": "roof", "color": "#010101"}]}, "each class name must occur once"),
        (
            {"classes": BASE["classes"] + [{"name": "x", "color": "#3c1098"}]},
            r"each mask rgb value .*\(60, 16, 152\) 2 t",
        ),
        ({"ignored": ["#8429F6"]}, "each mask rgb value must occur once in classes and ignored"),
        (IDS | {"ignored": [300]}, "each mask ids value must occur once in classes and ignored; got .*300 2 times"),
        (IDS | {"ignored": ["#000000"]}, "under encoding: ids ignored must list ids"),
        ({"ignored": [0]}, "under encoding: rgb ignored must list colours"),
        ({"classes": [{"name": "a", "color": None}, {"name": "b", "color": "#000001"}]}, "unquoted # starts a comment"),
        ({"classes": [{"name": "a", "id": 1}, {"name": "b", "id": 2}]}, "class a must have color or colors, and no id"),
        (IDS | {"classes": [{"name": "a", "color": "#000000"}, {"name": "b", "id": 1}]}, "class a must have an id"),
        ({"classes": BASE["classes"][:1]}, "classes must be 2 to 255; got .*1. Add the background"),
        (
            IDS | {"classes": [{"name": f"c{i}", "id": i + 1} for i in range(256)]},
            "classes must be 2 to 255; got .*256",
        ),
        ({"classes": [{"name": "a/b", "color": "#000001"}]}, "a class name must consist of"),
        ({"classes": [{"name": "a", "color": "red"}]}, "a colour must be '#RRGGBB'"),
        ({"classes": [{"name": "a", "color": [1, 2, 256]}]}, "a colour must be '#RRGGBB'"),
        ({"images": "*/images/a*.jpg", "masks": "*/masks/a.png"}, "must have the same wildcards in the same order"),
        ({"scene_regex": "("}, "scene_regex must be a regular expression"),
        ({"split": {"by": "share", "val": 0.7, "dev": 0.3}}, "split.val [+] split.dev must be less than 1"),
        ({"split": {"by": "random"}}, "'list', 'scene', 'share'"),
        ({"palette": []}, "palette must be a key that descriptions have"),
    ],
)
def test_descriptions_that_break_a_rule(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        load_description(write(tmp_path, changes))


def test_all_broken_keys_are_listed(tmp_path):
    path = write(tmp_path, {"encoding": "png", "colour": 1, "name": ""})
    description, problems = scan_description(path)
    assert description is None
    assert [problem.rule.split(" ")[0].rstrip(":") for problem in problems] == ["name", "encoding", "colour"]
    assert {problem.file for problem in problems} == {path}


def test_files_that_are_no_description(tmp_path):
    with pytest.raises(InputError, match=r"dataset.description must be a YAML file; got .*gone.yaml"):
        load_description(tmp_path / "gone.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match=r"YAML file of keys and values; got .*list"):
        load_description(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(InputError, match="must be a YAML file"):
        load_description(tmp_path / "broken.yaml")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"scene_regex": "^Tile [12]"}, "scene_regex '^Tile [12]' must find a scene in every id"),
        ({"split": {"by": "scene", "train": ["Tile 1"], "val": ["Tile 9"]}}, "each scene of split.val must exist"),
        ({"split": {"by": "scene", "train": ["Tile 1"], "val": ["Tile 1"]}}, "a scene must lie in one split"),
        ({"split": {"by": "share", "val": 0.2}, "scene_regex": "Tile"}, "split by share must have 2 scenes or more"),
        ({"split": {"by": "scene", "train": ["Tile 1"], "val": []}}, "the val split must have an image"),
    ],
)
def test_what_does_not_fit_the_images_is_named_by_the_file_or_by_the_key_of_the_config(tmp_path, changes, rule):
    path = write(tmp_path, changes)
    description = load_description(path)
    _, of_a_file = scan_described(description, tmp_path / "data", path)
    _, of_a_config = scan_described(description, tmp_path / "data", None)
    assert (path, rule) in [(problem.file, problem.rule) for problem in of_a_file]
    assert (None, f"dataset.description: {rule}") in [(problem.file, problem.rule) for problem in of_a_config]
    assert len(of_a_file) == len(of_a_config)


def test_the_dubai_example_is_a_valid_description():
    description = load_description(Path(__file__).parents[2] / "examples/dubai_tiles.yaml")
    assert [entry.name for entry in description.classes] == ["building", "land", "road", "vegetation", "water"]
    assert description.mask_encoding.colors[0x9B, 0x9B, 0x9B] == IGNORED

import pytest

from trainable.data.files.path_pattern import PathPattern
from trainable.errors import InputError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("images/*.jpg", {"a": "images/a.jpg", "b.c": "images/b.c.jpg"}),
        ("*/img_*.jpg", {"images/1": "images/img_1.jpg", "x/2": "x/img_2.jpg"}),
        ("**/*.png", {"p": "p.png", "x/y/q": "x/y/q.png"}),
        ("images/?.jpg", {"a": "images/a.jpg"}),
        ("images/*.[jJ]pg", {"a": "images/a.jpg", "b.c": "images/b.c.jpg", "d": "images/d.Jpg"}),
        ("images/[!b]*.jpg", {"": "images/a.jpg"}),
    ],
)
def test_what_wildcards_match_is_the_id(tmp_path, glob, expected):
    names = [
        "images/a.jpg",
        "images/b.c.jpg",
        "images/d.Jpg",
        "p.png",
        "x/y/q.png",
        "images/._a.jpg",
        "x/.hidden/a.png",
    ]
    touch(tmp_path, *names)
    if "img_" in glob:
        touch(tmp_path, "images/img_1.jpg", "x/img_2.jpg")
    found = {id_: path.relative_to(tmp_path).as_posix() for id_, path in PathPattern(glob).find(tmp_path)}
    assert found == expected


def test_wildcards_are_listed_in_order_without_sets():
    assert PathPattern("**/tile_?/[ab]*.png").wildcards == ("**", "?", "*")


def test_folders_that_match_are_not_files(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    touch(tmp_path, "b.jpg")
    assert [id_ for id_, _ in PathPattern("*.jpg").find(tmp_path)] == ["b"]


@pytest.mark.parametrize(
    ("glob", "message"),
    [
        ("images/a.jpg", "must have a wildcard"),
        ("/data/*.jpg", "must lie under the root"),
        ("../*.jpg", "must lie under the root"),
        ("images/**.jpg", "must stand for whole folders"),
        ("images/**", "must stand for whole folders"),
    ],
)
def test_impossible_globs_are_refused(glob, message):
    with pytest.raises(InputError, match=message):
        PathPattern(glob)

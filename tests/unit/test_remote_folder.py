"""Folders that fsspec reads, copied: which files, when again, and what is left where it fails."""

import errno
import os
import shutil
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from trainable.data.dataset_config import DatasetConfig
from trainable.data.dataset_yaml import Description
from trainable.data.files.file_selection import FileSelection
from trainable.data.files.remote_folder import local_folder
from trainable.data.layouts.aeroscapes import AEROSCAPES_FILES
from trainable.data.layouts.described_layout import files_of
from trainable.data.read_image_set import read_image_set, scan_image_set
from trainable.errors import InputError, SearchFaultError

IDS = ("a_0", "a_1", "b_0")
FILES = {
    **{f"JPEGImages/{id_}.jpg": f"image {id_}" for id_ in IDS},
    **{f"SegmentationClass/{id_}.png": f"mask {id_}" for id_ in IDS},
    "ImageSets/trn.txt": "a_0\na_1\n",
    "ImageSets/val.txt": "b_0\n",
}
OTHERS = {
    "README.md": "",
    "JPEGImages/._a_0.jpg": "of another system",
    "JPEGImages/.thumbnails/a_0.jpg": "hidden",
    "JPEGImages/a_0.txt": "no image",
    "ImageSets/all.txt": "not asked for",
    "more/JPEGImages/a_0.jpg": "another set",
}
DESCRIPTION = {
    "name": "made", "images": "*/i*/*.jpg", "masks": "*/m*/*.png", "encoding": "ids",
    "classes": [{"name": "land", "id": 0}, {"name": "roof", "id": 1}],
    "split": {"by": "list", "train": "lists/t.txt", "val": "lists/.v.txt"},
}  # fmt: skip


class FailingFileSystem(MemoryFileSystem):
    """Memory that cannot be read from the third file on, or only in part where there is no error."""

    protocol = "failing"
    error = OSError("the cable is cut")
    reads = 0

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("failing:", "memory:"))

    def get_file(self, rpath, lpath, **more):
        FailingFileSystem.reads += 1
        if FailingFileSystem.reads > 2 and self.error is not None:
            raise self.error
        super().get_file(rpath, lpath, **more)
        if FailingFileSystem.reads > 2:
            os.truncate(lpath, 3)


@pytest.fixture(autouse=True)
def memory():
    """An empty file system in memory."""
    fsspec.register_implementation("failing", FailingFileSystem, clobber=True)
    FailingFileSystem.reads = 0
    yield fsspec.filesystem("memory")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def put(memory, files, folder="/sets/aero"):
    memory.pipe({f"{folder}/{name}": content.encode() for name, content in files.items()})


def below(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def copies(cache):
    return sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock")) if cache.exists() else []


def test_what_the_layout_needs_is_copied_and_nothing_else(memory, tmp_path):
    put(memory, FILES | OTHERS)
    said = []
    folder = local_folder("memory://sets/aero", AEROSCAPES_FILES, tmp_path / "cache", said.append)
    assert below(folder) == FILES
    assert folder.name == "aero", "a set may be named for its folder"
    assert said == ["copying 8 files from memory://sets/aero (0.0 MB)"]


def test_what_a_description_names_is_copied_and_nothing_else(memory, tmp_path):
    named = dict.fromkeys(("x/i/1.jpg", "x/m/1.png", "y z/images/2.jpg", "y z/masks/2.png", "lists/t.txt"), "1")
    hidden = {"lists/.v.txt": "named, and so not left out"}
    put(
        memory, named | hidden | dict.fromkeys(("i/1.jpg", "x/i/y/1.jpg", "x/i/1.JPG", "lists/u.txt", ".x/i/1.jpg"), "")
    )
    folder = local_folder("memory://sets/aero", files_of(Description.model_validate(DESCRIPTION)), tmp_path)
    assert below(folder) == named | hidden


@pytest.mark.parametrize(
    "name", ["JPEGImages/../../../evil.jpg", "JPEGImages//a.jpg", "JPEGImages/./a.jpg", "../JPEGImages/a.jpg"]
)
def test_names_that_lead_elsewhere_are_not_wanted(name):
    assert name not in AEROSCAPES_FILES
    assert name not in FileSelection(AEROSCAPES_FILES.patterns, (name,))
    assert "JPEGImages/seq/a.jpg" in AEROSCAPES_FILES


def test_only_folders_that_a_glob_may_reach_are_listed():
    assert AEROSCAPES_FILES.folders == ("JPEGImages", "SegmentationClass")
    assert files_of(Description.model_validate(DESCRIPTION)).folders == ("",)


def test_a_path_is_the_folder_itself(tmp_path):
    cache = tmp_path / "cache"
    assert local_folder(tmp_path / "nowhere", AEROSCAPES_FILES, cache) == tmp_path / "nowhere"
    assert local_folder(Path("relative"), AEROSCAPES_FILES, cache) == Path("relative")
    assert local_folder(f"file://{tmp_path}", AEROSCAPES_FILES, cache) == tmp_path
    assert not cache.exists()


def test_it_is_copied_once_by_whoever_comes_first(memory, tmp_path):
    put(memory, FILES)
    said = []
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: local_folder("memory://sets/aero", AEROSCAPES_FILES, tmp_path, said.append), range(4)))  # fmt: skip  # noqa: E501
    assert len(said) == 1
    assert len(set(found)) == len(copies(tmp_path)) == 1
    assert local_folder("memory://sets/aero/", AEROSCAPES_FILES, tmp_path) == found[0]


@pytest.mark.parametrize("change", ["same size", "added", "gone"])
def test_other_files_are_another_copy_and_files_that_do_not_matter_are_not(memory, tmp_path, change):
    put(memory, FILES)

    def folder():
        return local_folder("memory://sets/aero", AEROSCAPES_FILES, tmp_path)

    first = folder()
    put(memory, OTHERS)
    assert folder() == first
    changed = {"same size": {"JPEGImages/a_0.jpg": "IMAGE a_0"}, "added": {"JPEGImages/c_0.jpg": ""}, "gone": {}}[
        change
    ]
    put(memory, changed)
    if change == "gone":
        memory.rm("/sets/aero/JPEGImages/a_0.jpg")
    second = folder()
    assert second != first
    assert below(second) == {name: text for name, text in (FILES | changed).items() if change != "gone" or "a_0.j" not in name}  # fmt: skip  # noqa: E501
    assert below(first) == FILES, "who reads it still has it"


def test_a_copy_that_is_made_again_is_the_same_to_the_cache_of_decoded_images(memory, tmp_path):
    put(memory, FILES)

    def seen():
        folder = local_folder("memory://sets/aero", AEROSCAPES_FILES, tmp_path)
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*.*")}

    first = seen()
    shutil.rmtree(tmp_path / copies(tmp_path)[0])
    assert seen() == first


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("the cable is cut"), r"got 'the cable is cut' when asked to copy failing://sets/aero\. Mend it and"),
        (None, r"got '3 of 9 bytes of a_0.jpg' when asked to copy failing://sets/aero\. Mend it and"),
        (OSError(errno.ENOSPC, "No space left"), r"No space left.* Free space in the cache folder, or set resources"),
    ],
)
def test_a_copy_that_fails_leaves_nothing_and_may_be_tried_again(memory, tmp_path, monkeypatch, error, message):
    put(memory, FILES)
    monkeypatch.setattr(FailingFileSystem, "error", error)
    with pytest.raises(SearchFaultError, match=message):
        local_folder("failing://sets/aero", AEROSCAPES_FILES, tmp_path)
    assert FailingFileSystem.reads >= 3
    assert copies(tmp_path) == []
    monkeypatch.setattr(FailingFileSystem, "reads", -100)
    assert below(local_folder("failing://sets/aero", AEROSCAPES_FILES, tmp_path)) == FILES


def test_what_a_killed_process_left_of_a_copy_is_removed(memory, tmp_path):
    put(memory, FILES)
    copy = local_folder("memory://sets/aero", AEROSCAPES_FILES, tmp_path).parent
    left = copy.rename(copy.with_name(f"{copy.name.rpartition('-')[0]}.building"))
    (left / "aero/JPEGImages/half.jpg").write_text("")
    assert below(local_folder("memory://sets/aero", AEROSCAPES_FILES, tmp_path)) == FILES
    assert copies(tmp_path) == [copy.name]


@pytest.mark.parametrize("change", ["same size", "gone"])
def test_files_that_change_while_they_are_copied_are_no_copy(memory, tmp_path, change):
    put(memory, FILES)

    def disturb(_):
        if change == "gone":
            memory.rm("/sets/aero/JPEGImages/b_0.jpg")
        else:
            put(memory, {"JPEGImages/a_0.jpg": "IMAGE a_0"})

    with pytest.raises(InputError, match=r"must not change while they are copied; .* Start again when they are whole"):
        local_folder("memory://sets/aero", AEROSCAPES_FILES, tmp_path, disturb)
    assert copies(tmp_path) == []


def test_the_space_is_checked_before_anything_is_copied(memory, tmp_path, monkeypatch):
    put(memory, FILES)
    size = sum(len(content) for content in FILES.values())
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, size + 256 * 2**20 - 1))
    rule = r"the files of memory://sets/aero need 0\.3 GiB in .*; got 0\.3 GiB free\. Free space there, or set"
    with pytest.raises(InputError, match=rule):
        local_folder("memory://sets/aero", AEROSCAPES_FILES, tmp_path)
    assert copies(tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, size + 256 * 2**20))
    assert below(local_folder("memory://sets/aero", AEROSCAPES_FILES, tmp_path)) == FILES


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s4://bucket/x", r"URL of one that fsspec knows; got s4://bucket/x \(Protocol not known: s4\)\. Write for ex"),
        ("s3://", r"URL of one that fsspec knows; got s3://\. Write for example s3://bucket/folder"),
        (
            "memory://nowhere",
            r"files of its layout; got memory://nowhere without any file of 'JPEGImages/\*\*/\*\.jpg'",
        ),
    ],
)
def test_a_url_of_nothing_is_named_with_the_remedy(tmp_path, url, message):
    with pytest.raises(InputError, match=message) as refusal:
        local_folder(url, AEROSCAPES_FILES, tmp_path / "cache")
    assert not isinstance(refusal.value, SearchFaultError), "trying again does not help"
    assert not (tmp_path / "cache").exists()


def test_a_file_system_that_is_not_installed_is_named(tmp_path):
    fsspec.register_implementation("missing", "no_such_package.FileSystem", clobber=True, errtxt="Please install it")
    with pytest.raises(InputError, match=r"file system of missing://b must be installed; got Please install it\. Inst"):
        local_folder("missing://b", AEROSCAPES_FILES, tmp_path)


def test_a_set_elsewhere_is_that_of_a_folder_with_the_same_files(memory, tmp_path):
    put(memory, FILES | OTHERS)
    here = tmp_path / "aero"
    memory.get("/sets/aero", str(here), recursive=True)
    local = read_image_set(DatasetConfig(layout="aeroscapes", root=here), tmp_path / "cache")
    remote = read_image_set(DatasetConfig(layout="aeroscapes", root="memory://sets/aero"), tmp_path / "cache")
    assert [(s.id, s.scene, s.split) for s in remote] == [(s.id, s.scene, s.split) for s in local]
    assert (remote.name, remote.classes, remote.warnings) == (local.name, local.classes, local.warnings)
    assert [s.image.read_text() for s in remote] == [f"image {id_}" for id_ in IDS]


def test_what_is_missing_is_named_where_it_can_be_mended(memory, tmp_path):
    put(memory, FILES)
    memory.rm("/sets/aero/SegmentationClass/a_1.png")
    _, (problem,) = scan_image_set(DatasetConfig(layout="aeroscapes", root="memory://sets/aero/"), tmp_path)
    assert problem.located_value == "memory://sets/aero/SegmentationClass/a_1.png: no such file"
    memory.rm("/sets/aero/ImageSets/val.txt")
    given = DESCRIPTION | {"root": "memory://sets/aero", "images": "J*/*.jpg", "masks": "S*/*.png"}
    config = DatasetConfig(layout="described", description=given | {"split": {"by": "list", "train": "ImageSets/trn.txt", "val": "ImageSets/val.txt"}})  # fmt: skip  # noqa: E501
    _, problems = scan_image_set(config, tmp_path)
    assert [problem.located_value for problem in problems if "file" in problem.rule] == [
        "memory://sets/aero/ImageSets/val.txt: no such file"
    ]

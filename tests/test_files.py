"""Nothing is lost: temporary names, renames, and folders that are refused."""

import errno
import os

import pytest

from pclmix.errors import InputError
from pclmix.files import atomic_path, claim_file, claim_folder


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "sub" / "a.nii.gz"
    with atomic_path(path) as temporary:
        assert temporary.name.endswith(".nii.gz") and temporary.parent == path.parent
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("bug")])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises((InputError, RuntimeError)) as caught, atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    if isinstance(error, OSError):
        assert str(path) in str(caught.value) and "No space" in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_a_file_is_as_open_as_the_umask_lets_it_be(tmp_path):
    """safetensors writes files that their owner alone may read; others of a laboratory share our models."""
    plain = tmp_path / "plain"
    plain.touch()
    for name, write in (("strict", strictly), ("usual", lambda path: path.write_text("text"))):
        with atomic_path(tmp_path / name) as temporary:
            write(temporary)
        assert (tmp_path / name).stat().st_mode == plain.stat().st_mode


def strictly(path):
    path.write_text("text")
    path.chmod(0o600)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "x.json", tmp_path / ("x" * 250 + ".json")):
        with pytest.raises(InputError, match="cannot write"), atomic_path(path) as temporary:
            temporary.write_text("x")


def test_a_folder_in_use_is_refused_unless_told_otherwise(tmp_path):
    folder = tmp_path / "out"
    assert claim_folder(folder) == folder and folder.is_dir()
    assert claim_folder(folder) == folder, "an empty one is fine"
    (folder / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match=r"not empty, expected an empty one \(or --overwrite\)"):
        claim_folder(folder)
    with pytest.raises(InputError, match=r"not empty, expected an empty one \(or --resume\)"):
        claim_folder(folder, option="--resume")
    claim_folder(folder, overwrite=True)
    assert (folder / "precious.txt").read_text() == "mine"


def test_a_file_that_exists_is_refused_unless_told_otherwise(tmp_path):
    path = tmp_path / "sub" / "scores.csv"
    assert claim_file(path) == path and not path.parent.exists(), "nothing is made before there is something to write"
    path.parent.mkdir()
    path.touch()
    assert claim_file(path) == path, "nothing is lost with an empty file"
    path.write_text("mine")
    with pytest.raises(InputError, match=r"scores.csv: the file exists, expected a new name \(or --overwrite\)"):
        claim_file(path)
    assert claim_file(path, overwrite=True).read_text() == "mine"
    with pytest.raises(InputError, match="sub: found a folder, expected a file"):
        claim_file(path.parent, overwrite=True)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="found a file"):
        claim_folder(tmp_path / "out", overwrite=True)
    with pytest.raises(InputError, match="cannot make"):
        claim_folder(tmp_path / "out" / "below")

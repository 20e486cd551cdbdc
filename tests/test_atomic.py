"""Files are written whole or not at all."""

import builtins
import errno
import os

import pytest

from refwfm.storage import atomic


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    atomic.write_text(path, "old")
    return path


def assert_untouched(path):
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == [path.name]


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_is_replaced(path):
    atomic.write_text(path, "ÿ\n")
    assert path.read_bytes() == "ÿ\n".encode()
    assert os.listdir(path.parent) == [path.name]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask  # as readable for others as any file


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(path, monkeypatch, call):
    with monkeypatch.context() as patch:
        patch.setattr(os, call, no_space)
        with pytest.raises(OSError, match=r"cannot write .*file: No space left") as caught:
            atomic.write_text(path, "new")
    assert caught.value.errno == errno.ENOSPC
    assert_untouched(path)


def test_a_disk_that_fills_in_the_middle(path):
    def half(file):
        file.write(b"ne")
        file.flush()
        no_space()

    with pytest.raises(OSError, match="No space left"):
        atomic.write(path, half)
    assert_untouched(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_or_a_bug_leaves_the_old_file(path, error):
    def fails(file):
        file.write(b"ne")
        raise error

    with pytest.raises(error):
        atomic.write(path, fails)
    assert_untouched(path)


def test_folders_that_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"cannot write .*: there is no folder .*missing"):
        atomic.write_text(tmp_path / "missing" / "x", "")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        atomic.write_text(tmp_path / "file" / "x", "")

    def denied(*args, **kwargs):  # permissions do not bind a test that runs as root
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", denied)
        with pytest.raises(PermissionError, match=r"cannot write .*x: Permission denied"):
            atomic.write_text(tmp_path / "x", "")
    assert os.listdir(tmp_path) == ["file"]

"""Files that are written whole or not at all: no reader, no crash, no full disk ever leaves half of one."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO


def write(path: Path, fill: Callable[[IO[bytes]], object], /) -> None:
    """Let ``fill(file)`` write a temporary file beside ``path``, which then takes its place.

    Raises
    ------
    OSError
        If the folder cannot be written or the disk is full; the error names the file, which stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            missing = not path.parent.exists()
            reason = f"there is no folder {path.parent}" if missing else error.strerror or error
            raise OSError(error.errno, f"cannot write {path}: {reason}") from error
        raise
    _sync_folder(path.parent)


def write_text(path: Path, text: str, /) -> None:
    """Write a text in UTF-8."""
    write(path, lambda file: file.write(text.encode()))


def sweep(folder: Path, /) -> None:
    """Take away what processes that were killed while they wrote left in a folder: ``.NAME.PID.part``."""
    for leftover in folder.glob(".*.part"):
        pid = leftover.name.split(".")[-2]
        if not (pid.isdigit() and _runs(int(pid))):
            with contextlib.suppress(OSError):
                leftover.unlink()


def _runs(pid: int) -> bool:
    """Whether there is another process of this number, as far as the system tells."""
    if pid == os.getpid() or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)  # the signal 0 is sent to nobody, and fails where there is nobody
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def made_folder(folder: Path, /) -> Iterator[None]:
    """Make a folder, with its parents; where the block fails, take away what was made and is still empty.

    Raises
    ------
    OSError
        If it cannot be made; the error names it and says why.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        _make(folder)
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # not empty: something was kept
            for each in made:
                each.rmdir()
        raise


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        files = [each for each in (folder, *folder.parents) if each.is_file()]
        reason = f"{files[0]} is a file" if files else error.strerror or error
        raise OSError(error.errno, f"cannot make the folder {folder}: {reason}") from error

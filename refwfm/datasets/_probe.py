"""What of an HDF5 file its library follows without a look, read in a process of its own; run as a script.

Texts lie in heaps, at addresses and of lengths that the library believes: a few damaged bytes end the process
that reads them, hold it for ever or make it ask for gigabytes. Here they do so to nobody.
"""

import os
import sys
from pathlib import Path
from typing import Any


def main(path: str, /) -> None:
    """Read all attributes and all texts, with bounds of time and memory that a whole file keeps."""
    import h5py

    _bound(os.path.getsize(path))

    def read(name: str, item: Any) -> None:
        for key in item.attrs:
            item.attrs[key]
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "O":
            item[()]

    with h5py.File(path, "r") as file:
        read("", file)
        file.visititems(read)


def _bound(size: int) -> None:
    import resource

    seconds, room = 5 + size // 10**7, 2**30 + 8 * size
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    pages = Path("/proc/self/statm")
    if pages.exists():  # elsewhere than on Linux the limit of memory is none
        held = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + room, held + room))


if __name__ == "__main__":
    main(sys.argv[1])

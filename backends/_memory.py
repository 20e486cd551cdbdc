"""Keep the memory that arrays leave behind, instead of giving it to the system and asking for it again."""

import ctypes
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # constants of malloc.h


@cache
def keep_freed_memory() -> bool:
    """Tell the C library's allocator to hold on to freed memory; return whether it could be told.

    A training step allocates all gradients and frees them again. By default glibc then returns that memory
    to the system, and the next step has it zeroed and mapped once more, page by page: a tenth of the step's
    time. The setting holds for the whole process, so it is for programs that own theirs: the command line,
    the benchmarks. The process then stays at its peak memory. C libraries other than glibc are left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc, or no such handle (Windows)
        return False
    # Setting the first freezes the second, at 128 KiB unless it is set too; 32 MiB is its maximum.
    return bool(mallopt(_M_TRIM_THRESHOLD, 1 << 30) and mallopt(_M_MMAP_THRESHOLD, 1 << 25))

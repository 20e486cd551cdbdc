"""The third of the cases of slow tests that is asked of every day; ``REFWFM_TEST_THOROUGH=1`` asks all."""

import os
from zlib import crc32

THOROUGH = os.environ.get("REFWFM_TEST_THOROUGH") == "1"


def in_third(name: str) -> bool:
    """Whether a case is among a third that is the same in every run and process; all are if thorough."""
    return THOROUGH or crc32(name.encode()) % 3 == 0

"""Laws that functions do not obey yet: strict, so that an entry goes when its function is mended."""

import pytest

AWAITED: dict[str, str] = {}
"""``"law function dtype"``, or ``"law function"`` for both dtypes, and what happens."""


def awaited(name: str) -> list[pytest.MarkDecorator]:
    reason = AWAITED.get(name) or AWAITED.get(name.rpartition(" ")[0])
    return [pytest.mark.xfail(reason=reason, strict=True)] if reason else []

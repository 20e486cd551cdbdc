"""Laws that functions do not obey yet: strict, so that an entry goes when its function is mended."""

AWAITED: dict[str, str] = {}
"""``"law function dtype"``, or ``"law function"`` for both dtypes, and what happens."""

"""All compositions, and the functions that are in a law by them."""

# Compositions are entered as these are imported.
import law_compositions_of_clouds  # noqa: F401
import law_compositions_of_gaussians  # noqa: F401
import law_compositions_of_storage  # noqa: F401
from law_composing import COMPOSITIONS, COVERED

__all__ = ["COMPOSITIONS", "COVERED"]

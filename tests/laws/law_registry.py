"""All records, and the functions that no law is about."""

import law_of_clouds
import law_of_gaussians
import law_of_networks
import law_of_transport
from law_record import REGISTRY

__all__ = ["REGISTRY"]

"""Where the flow starts: laws over ``gaussians``, and over ``clouds``."""

"""All sliders, by their formula. To add one, put a ``Slider`` into a module named in ``ROOMS``."""

from importlib import import_module

from refwfm.validation.panels.slider import Slider

ROOMS = ("gaussians", "plans", "clouds", "families")
"""Modules of ``refwfm.validation.panels`` with a list ``SLIDERS``."""


def by_item() -> dict[str, list[Slider]]:
    """All sliders by the id of their formula."""
    found: dict[str, list[Slider]] = {}
    for name in ROOMS:
        for slider in import_module(f"refwfm.validation.panels.{name}").SLIDERS:
            found.setdefault(slider.item, []).append(slider)
    return found

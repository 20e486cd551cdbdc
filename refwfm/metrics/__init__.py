"""How good the result is.

``distances`` between families of clouds, nearest ``neighbours`` among them, ``statistics`` of both.
"""

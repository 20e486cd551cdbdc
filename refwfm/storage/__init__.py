"""Files.

``atomic`` writes them whole or not at all, ``checkpoints`` holds arrays and numbers, ``records`` named tuples
of both, ``cache`` keeps results.
"""

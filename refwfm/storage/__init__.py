"""Files.

``atomic`` writes them whole or not at all, ``checkpoints`` holds arrays and numbers, ``cache`` keeps results.
"""

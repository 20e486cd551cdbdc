"""The proof that devices compute what the CPU does: ``python -m refwfm.validation.gpu``, or ``.ci/gpu``.

Beside the modules lie the records of real cards, one JSON file for each.
"""

"""The hostile corpus: small inputs that break libraries, each with its right answer or its right error.

``corpus/``     the cases, as data: one TOML file for each kind of trap
``cases``       reads them
``questions``   what can be asked, in words that do not belong to one library, and how answers are compared
``adapters/``   how a library is asked: this package, POT, OTT-JAX, GeomLoss, yours
``places``      where this package's arrays live: library and device
``judge``       one answer: right, a clear error, warned or silently wrong
``survey``      all cases on all places

``refwfm hostile`` runs it. A case that every library gets right is no waste: it stays right.
"""

"""Runs: ``models`` and their files, ``folders`` that hold a run, and the evaluation of what was learned."""

"""The measurements of `scanline bench`: one workload, several frameworks, timed in turns in one run.

A package of its own, so that `import scanline` never loads it.
"""

"""What all tests share: properties are tried on the same examples in every run, so that a run that fails here fails everywhere.

New examples are looked for with `pytest --hypothesis-profile=explore`.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("explore", deadline=None, print_blob=True)
settings.register_profile("reproducible", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("reproducible")

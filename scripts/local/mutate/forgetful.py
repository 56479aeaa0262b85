"""For pytest, under mutmut: each run begins without what functions remember of the run before, which had no fault."""

import functools
import gc


def pytest_sessionstart() -> None:
    for known in gc.get_objects():
        if isinstance(known, functools._lru_cache_wrapper):
            known.cache_clear()

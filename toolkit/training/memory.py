"""The C library's allocator, told to keep what training frees."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc
_LARGEST = 32 * 2**20
"""The largest threshold that every glibc takes on 64 bits (DEFAULT_MMAP_THRESHOLD_MAX)."""
_KEPT = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Make glibc hold on to freed blocks of up to 32 MiB instead of giving them back to the system after every step.

    Otherwise each activation's pages are fetched, zeroed and returned anew in every step. The process keeps its peak of such blocks
    until it ends.

    Returns: whether there is a glibc to be told.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    settings = ((_M_MMAP_THRESHOLD, _LARGEST), (_M_TRIM_THRESHOLD, _KEPT), (_M_TOP_PAD, 64 * 2**20))
    taken = [mallopt(what, value) == 1 for what, value in settings]
    return all(taken)

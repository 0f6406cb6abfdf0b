"""What a load leaves behind in the process, put in order once the new set is whole.

Reading 1,000 policies and 10,000 keys takes 30 MiB, of which 9 stay. Measured on such a set: `malloc_trim`
gives 4 MiB back, and `freeze` takes a full collection of the garbage collector from 50 ms, in which nobody is
answered, to less than 1 ms. (Its thresholds stay: in 1,500 batches of ordinary checks it never ran at all.)
"""

from __future__ import annotations

import ctypes
import gc


def tidy() -> None:
    """Collect what loading left, keep the collector away from what stays, and give free memory back.

    Call it before a set is put in force, once what it was made from is forgotten. What a later set replaces
    is still freed, since nothing in a snapshot refers to itself; the collector is needed for cycles alone.
    """
    gc.collect()
    gc.freeze()
    _trim()


def _trim() -> None:
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        return  # not glibc: another library of C keeps or returns memory by rules of its own

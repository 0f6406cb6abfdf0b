"""Ends the work of another thread, wherever it is."""

from __future__ import annotations

import ctypes
import time
from threading import Thread

_AGAIN_S = 0.05


class Interrupted(BaseException):
    """This thread is to end. No Exception: whoever catches those goes on working."""


def interrupt(thread: Thread, patience_s: float) -> bool:
    """Have a thread raise `Interrupted`, and wait for its end; False where it did not end in time.

    It is raised between two steps of the interpreter, so work that goes on in a library of C is finished
    first. To leave the thread running instead would not do: the interpreter ends threads that still run when
    it does, and where there are frames of C++ among theirs, that aborts the process.
    """
    end_s = time.monotonic() + patience_s
    while thread.is_alive() and thread.ident is not None and time.monotonic() < end_s:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(Interrupted)
        )
        thread.join(_AGAIN_S)
    return not thread.is_alive()

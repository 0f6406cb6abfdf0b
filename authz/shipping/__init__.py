"""Records on their way from a spool to every sink, in a process of their own.

In: segments that judging processes write (`record/segment.py`).
Out: the same lines at each sink, in order, at least once; and a gap line for each that is missing.
Never: one sink waiting for another; a record given up that no gap line counts; a credential in a log.
"""

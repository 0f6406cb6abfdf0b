"""Buckets that a fleet shares, in Redis.

In: the spends of waiting checks, from any judging thread.
Out: each check settled by what Redis said, or, where it said nothing, by what each limit does then.
Never: makes a judging thread wait; replays a call of which nobody knows whether it spent.
"""

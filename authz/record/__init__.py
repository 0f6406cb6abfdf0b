"""What was decided, for people and machines.

In: answered checks, after their replies have left.
Out: one JSON line each, and metrics.
Never: a credential, cookie or query value; a write on the judging thread; a loss that is not counted.
"""

"""How often.

In: the spends of waiting checks.
Out: for each check: what was spent, or which bucket refused.
Never: charges a refused check; makes the judging thread wait for a network.
"""

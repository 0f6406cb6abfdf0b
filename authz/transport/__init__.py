"""Doors: where calls arrive and replies leave.

In: bytes from Envoy, HTTP from operators.
Out: batches for `check`, and their replies.
Never: decides; lets an exception or an empty message become an answer.
"""

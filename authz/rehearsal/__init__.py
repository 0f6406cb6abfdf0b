"""Decisions that are not served.

In: a built set, and requests as people describe them.
Out: what would be decided, each step of it, and whether that is what a test expects.
Never: spends a token, answers Envoy, reads a clock.
"""

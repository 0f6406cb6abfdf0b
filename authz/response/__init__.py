"""Answering: the only room that builds a CheckResponse.

In: a decision.
Out: the bytes of the reply.
Never: an empty message; a value with CR, LF or NUL; an allow without an Allow.
"""

"""Nouns: what rooms hand to each other.

In: nothing. Out: immutable values with legal contents.
Never: imports anything but the standard library, reads a clock, a file or a socket.
"""

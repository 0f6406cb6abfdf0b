"""Records read back: found, filtered, shown, and their chains verified.

In: lines, from files, spools, Redis Streams or a running sidecar; and a question.
Out: the records that match, or where a chain is broken.
Never: a line trusted for being there: each is parsed within bounds, and shown without terminal codes.
"""

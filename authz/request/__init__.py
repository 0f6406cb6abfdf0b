"""Reading: from Envoy's bytes to the canonical request.

In: the bytes of a CheckRequest.
Out: a Request, or an Unreadable with its detail.
Never: guesses between two readings; raises for anything that a client sends; knows policies or keys.
"""

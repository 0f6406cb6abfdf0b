"""One policy set, loaded whole.

In: directories of documents.
Out: one immutable Snapshot with one revision.
Never: a partial set; parts of two revisions in one decision.
"""

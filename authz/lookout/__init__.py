"""Whose buckets there are, and how they stand: for operators who ask while limits are spent.

In: documents of a policy set, whom is asked about, what stores hold.
Out: buckets with their rates, and for how long each of them refuses.
Never: spends.
"""

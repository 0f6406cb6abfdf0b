"""What a check costs, measured on the machine at hand, all sides in one run.

In: how long to measure.
Out: a table and JSON, each figure the median of interleaved rounds.
Never: a figure whose answers were not the expected ones; part of the serving process.
"""

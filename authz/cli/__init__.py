"""Commands: what people type.

In: arguments.
Out: text for people, JSON for machines, exit codes 0 yes, 1 no, 2 usage, 3 cannot run.
Never: logic that another room should own.
"""

"""Envoy beside us: its configuration, and its process in demo and tests.

In: listen addresses and choices.
Out: a bootstrap, typed and written; running processes.
Never: part of the serving process.
"""

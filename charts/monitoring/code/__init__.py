"""Grafana's dashboards as code: what is drawn, out of which metrics.

In: the names of `authz/record/catalogue.py`, and PromQL.
Out: `charts/monitoring/dashboards/*.json`, written by `make schema`.
Never: a panel without a description, a label that a client controls.
"""

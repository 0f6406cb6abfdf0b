"""What of the chart is written by code: the schema of its values, their table, and copies of the monitoring.

Enters: values.yaml with its comments, charts/monitoring. Leaves: values.schema.json, the table in README.md,
files/.
Never: a value that values.yaml does not have.
"""

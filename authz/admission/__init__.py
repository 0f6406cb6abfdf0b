"""The webhook that injects the sidecar, and who counts pods without it: processes of their own.

In: an API server's questions about pods and Services; its Secrets and lists.
Out: patches and refusals, a certificate kept fresh, metrics.
Never: part of the serving process; an answer that lets a labelled pod in without its sidecar.
"""

"""The composition root: settings in, a running sidecar out. Only `cli` and `bench` import it.

In: settings.
Out: servers that answer, and end when told to.
Never: decides; knows a request.
"""

"""The authorization sidecar that sits beside Envoy. Start reading in `authz/README.md`."""

__version__ = "0.1.0"

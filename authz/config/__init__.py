"""Settings: what the operator chose.

In: authz.toml, the environment, flags (each wins over the one before).
Out: one frozen class per room.
Never: a default that opens something; an unknown key that passes unseen.
"""

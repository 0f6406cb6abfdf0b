"""What is tried against an authorization server, as data, and who tries it.

In: the address of any Envoy or ext_authz server that its owner wants tried.
Out: which cases got through, and why each matters.
Never: reads our own rooms to know what is right: its expectations stand by themselves.
"""

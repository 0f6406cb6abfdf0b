"""What is allowed.

In: documents at load; a Request and a Caller per check.
Out: compiled rules; a Grant or a Deny.
Never: reads a clock, a file or a socket; lets the order of files, documents or rules matter.
"""

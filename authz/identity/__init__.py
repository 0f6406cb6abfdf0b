"""Who asks.

In: a canonical request and the providers that candidate rules name.
Out: a Caller.
Never: guesses a credential; lets a secret leave; tells two invalid credentials apart, by text or by time.
"""

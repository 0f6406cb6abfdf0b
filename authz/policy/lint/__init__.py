"""What deserves a look in a policy set that could be served; never asked while serving."""

"""PolicyTests: run, reported, and asked before a changed set comes into force."""

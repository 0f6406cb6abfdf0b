"""Documents written in one canonical way, with their comments; never asked while serving."""

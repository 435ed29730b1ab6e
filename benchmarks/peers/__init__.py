"""Other tools on the same data in the same run, each in an environment of its own: ``make bench-peers``."""

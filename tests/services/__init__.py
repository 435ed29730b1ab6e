"""The real servers that tests talk to: each starts on demand and dies with the process that asked."""

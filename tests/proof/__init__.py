"""What proves the store by force: forged input, models with crashes, traced power loss, faults of the system.

The tests run each for a few seconds; ``python -m proof`` (``make soak``) runs the same for as long as asked.
"""

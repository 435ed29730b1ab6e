"""Two writers, a reader and a collector, undelete, and crashes at any step, against a plain dictionary."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from proof.machine import StoreMachine

# `make soak` runs it for as long as one likes; CONTRIBUTING.md says for how long it was.
TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=6, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)

"""Speed and memory, each figure beside what this machine does without us: run by ``make bench``."""

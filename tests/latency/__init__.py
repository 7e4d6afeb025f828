"""How soon `opened` comes while all else is busy or stuck. Not part of the suite: `python -m tests.latency.run`."""

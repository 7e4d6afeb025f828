"""Faults of the host, one row each, done for real to a running daemon under live calls: docs/faults.md.

`python -m tests.faults.run` does them all at full size and asserts counts and times; `test_faults_short.py` does each
in small and asserts counts alone.
"""

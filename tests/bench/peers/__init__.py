"""Servers by others that the bench compares with: a page each, with the same decode and the same write to the ring.

`catalogue.py` is what the bench imports; `install.py` makes what they need under `var/bench/`. The servers themselves
are programs of their own, run by an interpreter that has their library.
"""

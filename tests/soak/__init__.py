"""Hours in small: calls that come and go beside a daemon of which nothing may grow (`make soak`).

`run.py` is the command, `soaked.py` one run of it; who comes and goes is in `coming.py` and `guests.py`, what is looked
at in `gauges.py`, and what flat means in `flat.py`.
"""

"""What `lapping_writer.py` writes, for whoever reads it: frame f of a stream is `TABLES[epoch % SALTS][f]`."""

from tests.support.memory import known_samples

SALTS = 8
TABLE_FRAMES = 1 << 18
TABLES = [known_samples(0, TABLE_FRAMES, 1, salt) for salt in range(SALTS)]

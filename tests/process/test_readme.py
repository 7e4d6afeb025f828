"""The README's examples run as they stand, against a real daemon and a real call."""

"""The unit under a real systemd, as PID 1 of namespaces over an overlay of this machine: `make test-systemd`."""

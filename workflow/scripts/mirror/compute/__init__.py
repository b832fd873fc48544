"""GPUs, devices, precision and determinism."""

"""Measurements. bench/README.md states the protocol of each."""

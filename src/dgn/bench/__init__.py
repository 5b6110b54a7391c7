"""Timings of this program on the machine it runs on."""

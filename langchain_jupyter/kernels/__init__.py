"""Kernels: where code runs."""

"""Inputs with known truth that the tests, the benchmarks and the demo share."""

"""Benchmarks: each module prints one table and writes one JSON file; ours and the peer's are timed in one run."""

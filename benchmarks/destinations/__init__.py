"""Parts of ``benchmarks/activation.py``: the engine's speed, vendors' limits, second runs, and faults."""

"""Vauban side by side with other libraries: speed, strength and memory. Run by `python -m benchmarks --data DIR`; see README.md."""

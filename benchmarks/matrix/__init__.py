"""Every defence and every way of training on reference data: the campaign files of `python -m benchmarks.matrix`, and the networks they attack."""

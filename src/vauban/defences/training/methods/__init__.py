"""Ways of training: one file each, a function from a lesson to a loss. The decorator registers."""

"""Defences side by side: each attack on each of them, naive and adaptive, with what each defence costs. `vauban matrix` carries it out."""

"""Input preprocessing: what answers is the model, what it is asked about is a changed input. Each file names the gradient of its attacker."""

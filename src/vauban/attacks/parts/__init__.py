"""Small pure parts that attacks share: losses, starts, step schedules, noise directions, optimisers."""

"""From a plan to a record and a verdict."""

"""The guard over HTTP: backends open sessions and fetch decisions, devices hand in attempts and learn next to nothing."""

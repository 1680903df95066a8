"""Models to tune attack schedules on: trained here, reported nowhere."""

"""What the name of a finding ends with that is about the same target of texts behind the confusable-skeleton normaliser."""

BEHIND = ", normalised"

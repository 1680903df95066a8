"""Audits of texts: the same record, report and gate as of any other model.

`audit_text` is the way in. One threat is one `TextOracle` and the attacks in order (`siege`); the same again behind the confusable-skeleton
normaliser is a finding of its own (`audit`), and `worth` says how much of each text still stands.
"""

from vauban.campaign.text.audit import audit_text

__all__ = ["audit_text"]

"""Audits of texts: the same record, report and gate as of any other model. `vauban.audit_text` and campaign files are the ways in.

One threat is one `TextOracle` and the attacks in order (`siege`); the same again behind the confusable-skeleton normaliser is a finding of its
own (`plan`, `carry`), and `worth` says how much of each text still stands.
"""

"""Running a campaign: chunks of rows are the unit of work, and what is finished is never done twice.

`audit_plan` carries out a plan. A chunk is one oracle and the attacks in order (`besiege`), every example asked again (`verify`). It is
kept before the next one begins (`store`, `folder`), and the record is made of the kept chunks alone (`tally`, `finding`), so that a resumed
run and an uninterrupted one give the same.
"""

from vauban.campaign.run.audit import audit_plan
from vauban.campaign.run.events import Event, JsonLines, Progress, Several, quiet
from vauban.campaign.run.folder import RunFolder, open_exactly, open_run

__all__ = ["Event", "JsonLines", "Progress", "RunFolder", "Several", "audit_plan", "open_exactly", "open_run", "quiet"]

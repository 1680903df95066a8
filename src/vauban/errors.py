"""What can go wrong, by name. Every message says what, where, and the mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class VaubanError(Exception):
    """The root of every error that Vauban raises on purpose; the command line maps it to exit code 2 (unable)."""


class BadPlan(VaubanError, ValueError):
    """A campaign file, a threat or a setting that cannot be carried out as written."""


class BadData(VaubanError, ValueError):
    """Inputs or labels that cannot be judged: NaN, out of range, wrong shape, an empty class."""


class BadTarget(VaubanError, ValueError):
    """A model that cannot be attacked as it is: unreadable weights, a regression output, a changing class count."""


class Unsupported(BadTarget):
    """A model that works, of which something else is asked than it is made for: no bounds are known for one of its operators."""


class BadEndpoint(BadTarget):
    """A remote model that cannot be asked, or whose answers are of no use."""


class NotAuthorised(BadEndpoint):
    """A host that the authorisation does not name, or no authorisation."""


class AccessDenied(BadEndpoint):
    """An endpoint that does not accept the credentials: 401, 403."""


class BadRequest(BadEndpoint):
    """An endpoint that does not take the request as it is: 400, 404, 422, a redirection."""


class Malformed(BadEndpoint):
    """Answers that are not as agreed: no JSON, nothing where the scores should be, another number of classes."""


class Unreachable(BadEndpoint):
    """An endpoint that does not answer, after all retries."""


class RateLimited(BadEndpoint):
    """An endpoint that asks to wait longer than one is willing to."""


class BudgetSpent(BadEndpoint):
    """All that the questions to an endpoint may cost is spent."""


class BadJournal(BadEndpoint):
    """A journal that another process holds, or that cannot be read."""


class BrokenCertificate(VaubanError, AssertionError):
    """An input that was proven robust was broken: a fault in Vauban or in a proof, never a result."""


class BadGuard(VaubanError, ValueError):
    """A guard's configuration, key or policy that cannot be meant."""


class BadManifest(BadGuard):
    """A model's manifest, signature or file that a guard must not load."""


class BadLedger(VaubanError, ValueError):
    """A ledger that was changed; the message names the first row that shows it."""


class GuardDown(VaubanError, RuntimeError):
    """Something that a guard decides nothing without is not there, slow, full or out of time."""


class BadRun(VaubanError, ValueError):
    """A run folder or record that cannot be read or continued."""


class NotGranted(VaubanError, PermissionError):
    """A question that the threat or the target does not allow."""


class Missing(VaubanError, ImportError):
    """An optional dependency that is not installed."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The tail of an error about an unknown name: the closest known names, or all of them.

    >>> nearest("pdg", ["pgd", "fgsm"])
    "did you mean 'pgd'?"
    """
    names = sorted(known)
    close = get_close_matches(word, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"known names: {', '.join(names) or 'none'}"

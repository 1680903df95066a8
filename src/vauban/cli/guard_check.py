"""`vauban guard check`: a configuration, and the guard that runs with it, against a named policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vauban.cli.output import Output
from vauban.errors import BadGuard, nearest

POLICIES = ("banking",)


def command(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The configuration.")] = Path("guard.toml"),
    policy: Annotated[str, typer.Option(help="Which policy: banking.")] = "banking",
    url: Annotated[str, typer.Option(help="Ask the guard that runs there too; the attempts of a few made-up devices are spent.")] = "",
    key: Annotated[
        str, typer.Option(help="A relying party's API key for that; better in VAUBAN_GUARD_KEY.", envvar="VAUBAN_GUARD_KEY")
    ] = "",
    image: Annotated[Path | None, typer.Option(help="A picture that the guard accepts, to hand in versions of instead of noise.")] = None,
) -> int:
    """Hold a guard against a policy: what holds, what is breached, what nobody can say, and the evidence.

    Exit codes: 0 all holds, 1 something is breached, 2 nothing is breached but something cannot be told, or a file, address or key is wrong.

    \b
    vauban guard check guard.toml
    VAUBAN_GUARD_KEY=... vauban guard check guard.toml --url http://127.0.0.1:8080
    """
    from vauban.guard.config import read_guard
    from vauban.guard.policy.banking import RECOMMENDATIONS, judge
    from vauban.guard.policy.live import live_of
    from vauban.guard.policy.picture import noise, picture
    from vauban.guard.policy.reach import require_address
    from vauban.guard.policy.rule import exit_code, verdict

    if policy not in POLICIES:
        raise BadGuard(f"policy {policy!r}: {nearest(policy, POLICIES)}")
    said, config = Output.of(ctx), read_guard(file)
    handed_in = noise() if image is None else picture(image, config.listen.pixels)
    if url:
        require_address(url)
        if not key:
            raise BadGuard(f"{url} can only be asked with a relying party's key; put it into VAUBAN_GUARD_KEY")
    rulings = judge(config, live_of(config))
    if url:
        from vauban.guard.client import Client
        from vauban.guard.policy.probe import Probe

        rulings += Probe(Client(url, key), config, handed_in).judge()
    rulings.sort(key=lambda r: r.recommendation)
    said.write(
        [{"recommendation": r.recommendation, "question": r.question, "held": r.held.value, "evidence": r.evidence} for r in rulings]
    )
    for number, words in RECOMMENDATIONS.items():
        said.say(f"\n{number}. {words}")
        said.table(("", "", "evidence"), [[r.held.value, r.question, r.evidence] for r in rulings if r.recommendation == number])
    said.say(f"\n{verdict(rulings)}")
    return exit_code(rulings)

"""What routes share: the console, who asks, and whether they may."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Form, Request

from vauban.guard.console.access import COOKIE, Access, Role, Visitor
from vauban.guard.console.context import Desk
from vauban.guard.console.pages import Pages


class Away(Exception):
    """Nobody is logged in."""


class Forbidden(Exception):
    """Somebody who may not, or a request that no page of ours made."""


@dataclass(frozen=True)
class Console:
    """One console.

    Attributes:
        desk: the guard and the database.
        access: who is logged in.
        pages: the templates.
    """

    desk: Desk
    access: Access
    pages: Pages


def console_of(request: Request) -> Console:
    """The console whose route this is."""
    return cast("Console", request.app.state.console)


def visitor_of(request: Request) -> Visitor:
    """Who asks for a page; a page that refreshes itself keeps nobody logged in.

    Raises:
        Away: nobody who is logged in.
    """
    found = console_of(request).access.visitor(request.cookies.get(COOKIE, ""), touch="hx-request" not in request.headers)
    if found is None:
        raise Away
    return found


def acting(role: Role) -> Callable[..., Visitor]:
    """Who does something that takes a role; the form must be of a page of theirs."""

    def checked(request: Request, token: Annotated[str, Form(max_length=100)] = "") -> Visitor:
        same_site(request)
        found = visitor_of(request)
        if not hmac.compare_digest(found.token.encode(), token.encode()):
            raise Forbidden("The form does not belong to this session; open the page again.")
        if not found.may(role):
            raise Forbidden(f"{found.name} is {found.role}; this takes the role {role}.")
        return found

    return checked


def same_site(request: Request) -> None:
    """Refuse what a browser says another site made it send.

    Raises:
        Forbidden: it was.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("The request was made by another site.")


Here = Annotated[Console, Depends(console_of)]
Who = Annotated[Visitor, Depends(visitor_of)]
Viewer = Annotated[Visitor, Depends(acting("viewer"))]
Operator = Annotated[Visitor, Depends(acting("operator"))]
Approver = Annotated[Visitor, Depends(acting("approver"))]

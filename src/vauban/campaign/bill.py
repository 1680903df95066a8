"""What an endpoint cost, who allowed it to be asked, and how steady it was."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EndpointBill:
    """The account of one endpoint, over all sessions that its journal knows: other campaigns with the same journal are in it too.

    Attributes:
        name: of the endpoint.
        statement, hosts: who allowed it to be attacked, in a person's words, and the hosts that might be sent to.
        requests: different requests; attempts: how often one was sent, again and again included; rows: rows sent, in all attempts.
        answered, refused, failed: questions, by what became of them.
        lost: attempts that were under way when a process died; they are taken as paid for.
        sent, received: bytes of bodies.
        seconds: of asking, by the clock; latency: seconds of all attempts added up.
        money: in `unit`.
        repeated: how many questions were asked a second time or more to see how steady it is; 0 where none was.
        flips, moved: the shares of them whose class, and whose answer in any digit, was another.
    """

    name: str
    statement: str
    hosts: tuple[str, ...]
    requests: int
    attempts: int
    rows: int
    answered: int
    refused: int
    failed: int
    lost: int
    sent: int
    received: int
    seconds: float
    latency: float
    money: float = 0.0
    unit: str = ""
    repeated: int = 0
    flips: float = 0.0
    moved: float = 0.0

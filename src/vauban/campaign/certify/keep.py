"""Where certificates are kept: a folder for each threat and all that its certificates depend on; every row is written as soon as it is settled."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from vauban.campaign.certify.results import Certificates, RowCertificate
from vauban.campaign.record import write_atomically
from vauban.errors import BadRun
from vauban.report.numbers import slug

SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("label", pa.int64()),
        ("verdict", pa.string()),
        ("radius", pa.float64()),
        ("lost", pa.float64()),
        ("margin", pa.float64()),
        ("samples", pa.int64()),
        ("votes", pa.int64()),
        ("by", pa.string()),
        ("seconds", pa.float64()),
    ]
)


class Keep:
    """The certificates of one threat on disk.

    `rows.jsonl` grows by a line for each row that is settled; when all are, `certificates.parquet` and then `certificates.json` are written,
    each whole or not at all.

    Args:
        root: where certificates of all threats lie.
        threat: its name.
        about: all that its certificates depend on, in plain values.
    """

    def __init__(self, root: Path, threat: str, about: dict[str, Any]) -> None:
        self.about = about
        digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
        self.path = root / f"{slug(threat)}-{digest[:8]}"
        self.rows, self.table, self.result = (self.path / f for f in ("rows.jsonl", "certificates.parquet", "certificates.json"))
        self._file: IO[bytes] | None = None

    def begin(self, *, fresh: bool) -> dict[int, RowCertificate]:
        """The rows that are settled already, by id; none of them where a fresh start is wanted."""
        self.path.mkdir(parents=True, exist_ok=True)
        if fresh:
            for file in (self.result, self.table, self.rows):
                file.unlink(missing_ok=True)
        write_atomically(self.path / "about.json", json.dumps(self.about, indent=1, default=str))
        content = self.rows.read_bytes() if self.rows.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        found = [self._read(line, number) for number, line in enumerate(whole.splitlines(), start=1)]
        if len(whole) < len(content):  # the last line was being written when the run was killed
            write_atomically(self.rows, whole)
        self._file = self.rows.open("ab")
        return {certificate.row: certificate for certificate in found}

    def _read(self, line: bytes, number: int) -> RowCertificate:
        try:
            return msgspec.json.decode(line, type=RowCertificate)
        except msgspec.MsgspecError as error:
            raise BadRun(f"{self.rows}:{number} is damaged ({error}); delete the line, and only that row is certified again") from error

    def add(self, certificate: RowCertificate) -> None:
        """Keep one row; when this returns, a killed process does not lose it."""
        if self._file is not None:
            self._file.write(msgspec.json.encode(certificate) + b"\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def finish(self, found: Certificates) -> None:
        """Write the table and the summary."""
        out = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in found.rows], schema=SCHEMA), out)
        write_atomically(self.table, out.getvalue())
        write_atomically(self.result, json.dumps(summary(found), indent=1))


def summary(found: Certificates) -> dict[str, Any]:
    """What certificates come to, as JSON values."""
    rate = found.certified
    head = {"threat": found.threat, "text": found.text, "eps": found.eps, "unable": found.unable}
    if found.unable:
        return head
    counts = {verdict: found.count(verdict) for verdict in ("certified", "wrong", "abstain", "open", "undecided")}
    curve = [
        {"radius": r, "certified": found.at(r).hits, "share": found.at(r).value, "interval": found.at(r).interval, "undecided": found.undecided(r)}
        for r in found.radii
    ]  # fmt: skip
    return {
        **head,
        "method": found.method,
        "facts": found.facts,
        "alpha": found.alpha,
        "rows": len(found.rows),
        "certified_accuracy": rate.value,
        "interval": rate.interval,
        "level": rate.level,
        "verdicts": counts,
        "curve": curve,
        "samples_per_row": found.samples,
        "cpu_seconds": found.seconds,
        "warnings": list(found.warnings),
    }

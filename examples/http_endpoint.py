"""A service behind HTTP, attacked with a budget of questions; killed and gone on with, it asks nothing twice.

python examples/http_endpoint.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import vauban
from vauban import Access, Ball, Threat
from vauban.target.http import Answer, Authorisation, Cost, Http, Rate, Request

x, y = load_digits(return_X_y=True)
x = (x / 16 * 255).round() / 255
SERVE = "serve"


class Service(BaseHTTPRequestHandler):
    """{"pictures": [...]} gives {"answers": [[p0, p1, ...], ...]}; every 50th question fails."""

    protocol_version, wbufsize = "HTTP/1.1", -1
    model = LogisticRegression(max_iter=200)
    asked = 0

    def do_POST(self) -> None:
        pictures = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["pictures"]
        Service.asked += 1
        busy = Service.asked % 50 == 0
        answers = [] if busy else self.model.predict_proba(np.array(pictures) / 255).tolist()
        data = json.dumps({"answers": answers}).encode()
        self.send_response(503 if busy else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        pass


def serve() -> None:
    """The service, in a process of its own: it says its port and answers until it is killed."""
    Service.model.fit(x[300:], y[300:])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def attack(port: int, journal: Path) -> None:
    """Audit it twice: the second time the journal answers."""
    threat = Threat("outsider", Ball("64/255"), access=Access.SCORE, queries=200)
    for turn in ("first", "second"):
        target = Http(
            f"http://127.0.0.1:{port}/read",
            Authorisation("An example that attacks a server it has started itself.", ("127.0.0.1",)),
            request=Request(encode="list", integers=True, batch=16, body={"pictures": "<rows>"}),
            answer=Answer(rows="answers", scores="@", outputs="probabilities"),
            rate=Rate(concurrency=2),
            cost=Cost(per_row=0.0001, unit="EUR"),
            journal=journal,
        )
        most = target.estimate(rows=20, queries=200)
        before = target.bill
        record = vauban.audit(target, x[:20].astype(np.float32), y[:20], threat, attacks=["square"])
        bill = target.bill
        target.close()
        print(f"{turn}: at most {most.money:.2f} {most.unit}; {record['outsider'].robust.text()} withstood")
        print(f"  {bill.attempts - before.attempts} requests for {bill.answered} answers, {bill.money:.2f} {bill.unit} in all")


if __name__ == "__main__":
    if sys.argv[1:] == [SERVE]:
        serve()
    else:
        with (
            subprocess.Popen([sys.executable, __file__, SERVE], stdout=subprocess.PIPE, text=True) as service,
            TemporaryDirectory() as folder,
        ):
            assert service.stdout is not None
            try:
                attack(int(service.stdout.readline()), Path(folder) / "journal")
            finally:
                service.kill()

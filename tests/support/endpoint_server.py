"""A model behind HTTP, with faults on order: what the tests of remote targets ask. Run by `endpoints.Endpoint`; standard library, NumPy, Pillow.

POST /<encode>/<form>   asks: encode is png, jpeg, npy, list, table, upload or text (data URL); form is what the answer looks like
POST /faults            ["429 0.1", "500", "", ...]: what becomes of the next questions, in order; "" is a good answer. "always X" goes on for ever
GET /log                one line for each question: path, sha256 of each row, what became of it, when, authorisation
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import random
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

WEIGHTS = np.random.default_rng(0).normal(size=(3, 4096))
NAMES = ("cat", "dog", "owl")


def scores(row: np.ndarray) -> np.ndarray:
    """A linear model of three classes, of as many features as there are."""
    flat = row.astype(np.float64).ravel()
    return WEIGHTS[:, : flat.size] @ (flat - 0.5)


def read_picture(data: bytes) -> np.ndarray:
    picture = np.asarray(Image.open(io.BytesIO(data))) / 255
    return np.moveaxis(picture, -1, 0) if picture.ndim == 3 else picture


def read_row(encode: str, value: object) -> tuple[np.ndarray, bytes]:
    """A row and the bytes that it came as."""
    if encode in ("png", "jpeg", "text"):
        data = base64.b64decode(value.partition("base64,")[2] if encode == "text" else value)
        return read_picture(data), data
    if encode == "npy":
        data = base64.b64decode(value)
        return np.load(io.BytesIO(data)), data
    if encode == "table":
        return np.array([value[k] for k in sorted(value)]), json.dumps(value).encode()
    return np.array(value), json.dumps(value).encode()


def read_upload(body: bytes, kind: str) -> tuple[np.ndarray, bytes]:
    mark = b"--" + re.search("boundary=(.+)", kind)[1].encode()
    part = next(p for p in body.split(mark) if b'name="image"' in p)
    data = part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
    return read_picture(data), data


def answer(form: str, z: np.ndarray) -> object:
    p = np.exp(z - z.max())
    p /= p.sum()
    top = int(z.argmax())
    forms = {
        "scores": lambda: {"result": {"scores": z.tolist()}},
        "probabilities": lambda: {"p": p.tolist()},
        "named": lambda: {"p": dict(zip(NAMES, p.tolist(), strict=True))},
        "pairs": lambda: {"top": [{"name": NAMES[k], "p": p[k]} for k in np.argsort(-p)[:2]]},
        "label": lambda: {"label": NAMES[top]},
        "number": lambda: {"label": top},
        "top": lambda: {"label": NAMES[top], "confidence": float(p[top])},
        "gate": lambda: {"decision": "live" if top == 1 else "spoof"},
        "binary": lambda: {"p": float(1 / (1 + np.exp(-z[0])))},
        "noisy": lambda: {"result": {"scores": [*z.tolist()[:2], random.gauss(float(z[2]), 3.0)]}},
        "tuned": lambda: {"p": p.tolist(), "label": NAMES[int(np.argsort(-p)[1])]},
    }
    return forms[form]()


class State:
    """What the server remembers."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.faults: list[str] = []
        self.log: list[dict[str, object]] = []
        self.delay = 0.0

    def next_fault(self) -> str:
        with self.lock:
            if not self.faults:
                return ""
            if self.faults[0].startswith("always "):
                return self.faults[0].removeprefix("always ")
            return self.faults.pop(0)


STATE = State()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.say(200, {"log": STATE.log, "now": time.time()})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/faults":
            STATE.faults = json.loads(body)
            self.say(200, {})
        elif self.path == "/delay":
            STATE.delay = json.loads(body)
            self.say(200, {})
        else:
            self.question(body)

    def question(self, body: bytes) -> None:
        _, encode, form = self.path.partition("?")[0].split("/")[:3]
        fault = STATE.next_fault()
        rows = self.rows(encode, body)
        line = {
            "path": self.path, "rows": [hashlib.sha256(data).hexdigest() for _, data in rows], "fault": fault, "at": time.time(),
            "authorisation": self.headers.get("Authorization", ""),
        }  # fmt: skip
        with STATE.lock:
            STATE.log.append(line)
        time.sleep(STATE.delay)
        if fault:
            self.fail(fault)
            return
        replies = [answer(form, scores(row)) for row, _ in rows]
        self.say(200, {"predictions": replies} if self.many else replies[0])

    def rows(self, encode: str, body: bytes) -> list[tuple[np.ndarray, bytes]]:
        self.many = False
        if encode == "upload":
            return [read_upload(body, self.headers["Content-Type"])]
        said = json.loads(body)
        self.many = "inputs" in said
        values = said["inputs"] if self.many else [said["input"]]
        return [read_row(encode, v["b64"] if isinstance(v, dict) and "b64" in v else v) for v in values]

    def fail(self, fault: str) -> None:
        word, _, rest = fault.partition(" ")
        if word.isdigit():
            extra = {"Retry-After": rest} if rest and word in ("429", "503") else {"Location": rest} if rest else {}
            self.say(int(word), {"error": f"no: {self.headers.get('Authorization', '')}", "code": "blocked"}, extra)
        else:
            getattr(self, f"fail_{word}")(rest)

    def fail_reset(self, seconds: str) -> None:
        self.say(429, {}, {"X-RateLimit-Reset": str(time.time() + float(seconds))})

    def fail_html(self, _: str) -> None:
        self.send(200, b"<!DOCTYPE html><html><body>Please log in</body></html>", {"Content-Type": "text/html"})

    def fail_lie(self, _: str) -> None:
        self.say(200, {"verdict": "fine"})

    def fail_classes(self, count: str) -> None:
        self.say(200, {"result": {"scores": [0.0] * int(count)}})

    def fail_nan(self, _: str) -> None:
        self.send(200, b'{"result": {"scores": [NaN, 1, 2]}}')

    def fail_refuse(self, _: str) -> None:
        self.say(200, {"blocked": True})

    def fail_cut(self, _: str) -> None:
        self.send(200, b'{"result": {"sco', {"Content-Length": "500"})
        self.close_connection = True

    def fail_huge(self, size: str) -> None:
        self.send(200, b" " * int(size))

    def fail_drop(self, _: str) -> None:
        self.close_connection = True
        self.connection.close()

    def fail_hang(self, seconds: str) -> None:
        time.sleep(float(seconds))
        self.close_connection = True

    def fail_crawl(self, seconds: str) -> None:
        self.send(200, b"", {"Content-Length": "100000"})
        with contextlib.suppress(OSError):
            for _ in range(int(float(seconds) / 0.02)):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.02)
        self.close_connection = True

    def say(self, status: int, value: object, extra: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps(value).encode(), extra)

    def send(self, status: int, data: bytes, extra: dict[str, str] | None = None) -> None:
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(extra or {})}
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:  # the other side has gone
            self.close_connection = True


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Those who ask may go away at any moment."""


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()

"""What `.ci/phoenix` and `.ci/mlflow` share: get a backend, start it, send it sessions, say what must be found there."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RECORDINGS = ["two-turns", "tool-call", "barge-in", "errors"]
KINDS = ["conversation", "turn", "stt", "llm", "tts", "tool"]
# The exported name of a span begins with one of these.
NAMES = {
    "conversation": "conversation",
    "turn": "turn",
    "speech_to_text": "stt",
    "chat": "llm",
    "text_to_speech": "tts",
    "execute_tool": "tool",
}


def install(package):
    """A virtual environment of its own below the target directory, with the newest version. Comes back with its programs."""
    directory = TARGET / package
    if not (directory / "bin" / "python").exists():
        uv = shutil.which("uv")
        if uv is None:
            subprocess.run([sys.executable, "-m", "venv", TARGET / "uv"], check=True)
            subprocess.run([TARGET / "uv" / "bin" / "pip", "install", "--quiet", "uv"], check=True)
            uv = TARGET / "uv" / "bin" / "uv"
        subprocess.run([uv, "venv", "--quiet", directory], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", directory / "bin" / "python", package], check=True)
    python = directory / "bin" / "python"
    version = f"from importlib.metadata import version; print(version({package!r}))"
    print(package, subprocess.run([python, "-c", version], check=True, capture_output=True, text=True).stdout.strip())
    return directory / "bin"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def server(command, environment, ready, work):
    """Runs a server for ten minutes at most, and stops it and what it started."""
    with open(work / "log", "wb") as log:
        running = subprocess.Popen(
            ["timeout", "600", *map(str, command)],
            env=os.environ | environment,
            stdout=log,
            stderr=log,
            cwd=work,
            start_new_session=True,
        )
    try:
        until(lambda: ask(ready, raw=True) is not None, f"{command[0]} does not answer, see {work / 'log'}", 120)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
            running.wait(30)


@contextlib.contextmanager
def workplace():
    """A directory for a while; it stays if something fails, for its log says why."""
    work = Path(tempfile.mkdtemp())
    yield work
    shutil.rmtree(work)


def ask(url, body=None, raw=False):
    """What a server answers; nothing if it is not there yet, or does not know."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise SystemExit(f"{url}: {error.code} {error.read().decode()[:500]}") from error
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
    return text if raw else json.loads(text)


def until(found, complaint, seconds=60):
    """Asks until there is an answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.5)
    raise SystemExit(complaint)


def build():
    cargo = ["cargo", "build", "--quiet", "--features", "otlp", "--example", "replay", "--example", "voice_agent"]
    subprocess.run(cargo, cwd=ROOT, check=True)


def send(program, arguments, environment):
    """Runs an example that has no OTLP but by the environment. It must lose nothing."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    given |= {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true", "OTEL_SERVICE_NAME": program, "OTEL_METRICS_EXPORTER": "none"} | environment
    command = [TARGET / "debug" / "examples" / program, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=120)
    if done.returncode != 0 or done.stderr:
        raise SystemExit(f"{program} {arguments}: {done.returncode} {done.stderr}")


class Session:
    """What must be found of one session: read from the recording itself, not from what we export."""

    def __init__(self, recording, work):
        self.id = recording
        text = (ROOT / "examples" / "recordings" / f"{recording}.jsonl").read_text()
        # All have the same conversation; here each is one of its own.
        self.file = work / f"{recording}.jsonl"
        self.file.write_text(text.replace('"conv-ref-1"', json.dumps(self.id)))
        self.kinds = dict.fromkeys(KINDS, 0)
        self.input_tokens = self.output_tokens = 0
        self.cost = 0.0
        spans, self.heard, self.spoken, self.answered = {}, [], [], []
        # By turn, in their order.
        self.heard_in, self.spoken_in = {}, {}
        for line in filter(str.strip, text.splitlines()):
            action = json.loads(line)
            if action["do"] == "open":
                spans[action["span"]] = {"kind": action["name"], "turn": action["parent"]}
                self.kinds[action["name"]] += 1
            spans[action["span"]].update(action.get("fields", {}) if action["do"] in ("open", "record") else {})
            if action["do"] == "close":
                self.close(spans[action["span"]])

    def first_input(self):
        return " ".join(next(iter(self.heard_in.values())))

    def last_output(self):
        return " ".join(list(self.spoken_in.values())[-1])

    def close(self, span):
        if span["kind"] == "stt" and "transcript" in span:
            self.heard.append(span["transcript"])
            self.heard_in.setdefault(span["turn"], []).append(span["transcript"])
        if span["kind"] == "tts" and "text" in span:
            self.spoken.append(span["text"])
            self.spoken_in.setdefault(span["turn"], []).append(span["text"])
        if span["kind"] == "llm":
            self.answered.append(span.get("completion"))
            self.input_tokens += span.get("input_tokens", 0)
            self.output_tokens += span.get("output_tokens", 0)
            self.cost += cost(span)


def cost(llm):
    """US dollars: what is read from the cache has a price of its own."""
    prices = tomllib.loads((ROOT / "examples" / "prices.toml").read_text())["price"]
    price = next(price for price in prices if price["model"] == "gpt-4o-mini*")
    cached = llm.get("cache_read_tokens", 0)
    parts = [(llm.get("input_tokens", 0) - cached, "input"), (cached, "cache_read"), (llm.get("output_tokens", 0), "output")]
    return sum(tokens * price[part] for tokens, part in parts) / 1e6


def kind(name):
    return NAMES[name.split(" ")[0]]


class Checks:
    """Collects what is wrong, so that one run tells all."""

    def __init__(self):
        self.passed, self.failed = 0, 0

    def same(self, what, found, expected):
        is_number = isinstance(expected, float)
        if abs(found - expected) < 1e-9 if is_number and isinstance(found, (int, float)) else found == expected:
            self.passed += 1
        else:
            self.failed += 1
            print(f"WRONG {what}:\n  found    {found!r}\n  expected {expected!r}")

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed")
        if self.failed:
            raise SystemExit(1)

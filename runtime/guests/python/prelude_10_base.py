"""The ground of the guest side: module `_cofferdam`, its door to the host, and the standard streams.

The prelude files are turns of one namespace, which becomes the module `_cofferdam`. It never appears in the
user's `__main__`, and it has builtins of its own, so that what user code does to `builtins` cannot break it.
"""

import builtins

__builtins__ = dict(vars(builtins))

import _host
import _io
import gc
import io
import json
import os
import sys
import types
from json import decoder as _json_decoder
from json import encoder as _json_encoder
from json import scanner as _json_scanner

__name__ = "_cofferdam"
sys.modules["_cofferdam"] = sys.modules["__main__"]

HOME = "/home/user"
MESSAGE_CAP = 8 << 10
TRACEBACK_CAP = 64 << 10
TEXT_CAP = 256 << 10
RECURSION_LIMIT = 1000
# Frames of plain Python cost no C stack, and what recurses in C is stopped by CPython's own check of its stack; but
# freeing a chain of traceback entries recurses unchecked: 8 MiB of WebAssembly stack take 20,000, not 50,000.
RECURSION_LIMIT_MAX = 20_000

# Bound once: user code may replace the attributes of `json`, `sys` or `io`.
_chunks = _json_encoder.c_make_encoder(
    {}, None, _json_encoder.encode_basestring, None, ":", ",", False, False, False
)
_scan = _json_scanner.c_make_scanner(json.JSONDecoder())
_scan_string = _json_decoder.c_scanstring
_door_call = _host.call
_modules = sys.modules
_FileIO = _io.FileIO
_TextIOWrapper = _io.TextIOWrapper
_BufferedReader = _io.BufferedReader
_BufferedWriter = _io.BufferedWriter
_StringIO = _io.StringIO
_BytesIO = _io.BytesIO
_Module = types.ModuleType


def clip(text, cap):
    """The text, with its middle taken out where it is longer than `cap` characters."""
    if len(text) <= cap:
        return text
    return f"{text[: cap // 2]}\n... {len(text) - cap} characters left out ...\n{text[-(cap // 2) :]}"


def _encode(value):
    """JSON, by the C encoder alone: `json.dumps` goes through builtins that user code may have replaced."""
    return "".join(_chunks(value, 0))


class _Stdin(_FileIO):
    """Descriptor 0, which remembers whether anything was read: only then the next turn needs a new reader."""

    used = False

    def readinto(self, buffer):
        self.used = True
        return _FileIO.readinto(self, buffer)

    def readall(self):
        self.used = True
        return _FileIO.readall(self)

    def read(self, size=-1):
        self.used = True
        return _FileIO.read(self, size)


def _open_stdin():
    global _in, _in_raw
    _in_raw = _Stdin(0, "r", closefd=False)
    _in_raw.name = "<stdin>"
    _in = _TextIOWrapper(_BufferedReader(_in_raw), encoding="utf-8", errors="surrogateescape")
    _in.mode = "r"


def _open_out(fd, name):
    raw = _FileIO(fd, "w", closefd=False)
    raw.name = name
    # Line by line, so that the host sees output when it happens and both streams in their order.
    text = _TextIOWrapper(_BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)
    text.mode = "w"
    return text


def _is_sound(stream):
    try:
        return not stream.closed and stream.line_buffering
    except ValueError:  # detached
        return False


def restore_streams():
    """Makes stdin, stdout and stderr what they were at birth, whatever the turn before did to them."""
    global _out, _err
    if not _is_sound(_out):
        _out = _open_out(1, "<stdout>")
    if not _is_sound(_err):
        _err = _open_out(2, "<stderr>")
    if _in_raw.used or _in_raw.closed or sys.__stdin__ is not _in:
        _open_stdin()
    sys.stdout = sys.__stdout__ = _out
    sys.stderr = sys.__stderr__ = _err
    sys.stdin = sys.__stdin__ = _in


def flush():
    """Hands everything that was printed to the host. What the user's own stream objects raise stays here."""
    for stream in (sys.stdout, _out) if sys.stdout is not _out else (_out,):
        try:
            stream.flush()
        except Exception:
            pass
    for stream in (sys.stderr, _err) if sys.stderr is not _err else (_err,):
        try:
            stream.flush()
        except Exception:
            pass


def send(request):
    """One request through the door; False if the host refused it."""
    flush()
    if _warming:
        return True
    try:
        _door_call(_encode(request).encode("utf-8", "replace"))
    except Exception:
        return False
    return True


_warming = True
_open_stdin()
_out = _open_out(1, "<stdout>")
_err = _open_out(2, "<stderr>")
sys.stdout.flush()
restore_streams()
_set_limit, _get_limit = sys.setrecursionlimit, sys.getrecursionlimit


def _set_recursion_limit(limit, /):
    """Sets the recursion limit; in this sandbox to 20,000 at most."""
    _set_limit(limit if limit < RECURSION_LIMIT_MAX else RECURSION_LIMIT_MAX)


_set_recursion_limit.__name__ = _set_recursion_limit.__qualname__ = "setrecursionlimit"
_set_recursion_limit.__module__ = "sys"
_set_limit(RECURSION_LIMIT)
sys.setrecursionlimit = _set_recursion_limit
os.makedirs(HOME, exist_ok=True)
os.chdir(HOME)
sys.path.insert(0, HOME)

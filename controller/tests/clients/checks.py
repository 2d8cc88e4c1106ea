"""What the Python scripts share: settings from the environment, and a runner of checks."""

import json
import os
import sys
import time
import traceback

BASE = os.environ["BASE"]
KEY = os.environ["KEY"]
MODEL = os.environ["MODEL"]
ERRORS = json.loads(os.environ.get("ERRORS", "{}"))
SKIP = set(filter(None, os.environ.get("SKIP", "").split(",")))
# The most seconds that an error may take.
MAX_ERROR_S = 10
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
TEXT = "Hello ö there."


def same(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def run(checks):
    failed = 0
    for check in checks:
        if check.__name__ in SKIP:
            print(f"skip {check.__name__}", flush=True)
            continue
        try:
            check()
            print(f"ok {check.__name__}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {check.__name__}\n{traceback.format_exc(limit=-4)}", flush=True)
    sys.exit(1 if failed else 0)


def raises(call, names):
    """Calls it, and checks the exception's class, its parents among them, and its time."""
    started = time.monotonic()
    try:
        call()
    except Exception as error:
        took = time.monotonic() - started
        classes = [one.__name__ for one in type(error).__mro__]
        assert any(name in classes for name in names.split("|")), f"{classes[0]}, not {names}: {error}"
        assert took < MAX_ERROR_S, f"{took:.1f} s"
        return error
    raise AssertionError(f"no error, but {names} was expected")

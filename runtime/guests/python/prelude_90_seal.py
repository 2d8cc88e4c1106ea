"""Sealing the image: every path is walked, so that first-use costs are in it, then all traces go.

The sealing is the first turn that has the shape of a spec (the recipe's `warmup`), because such a turn compiles
nothing, which would leave holes in the heap. It fails, and with it the making of the image, if a file is open.
"""

_WARM_ENV = dict(os.environ)
_HOT = "print('hello')"
_WALKS = (
    _HOT,
    "1 + 1",
    "import math\nmath.sqrt(2)",
    "def f():\n    return 1 / 0\nf()",
    "x = (",
    "'text'.nothing",
    "raise SystemExit(3)",
    "import nothing_like_this",
    "import pandas as pd\nimport numpy as np\ndf = pd.DataFrame({'a': [1, 2, 3], 'b': [1.5, 2.5, None], 'c': list('xyz')})"
    "\nprint(df)\nprint(df['a'].sum(), df.describe(), df.groupby('c').b.mean())\ndf",
    "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [4, 5, 6], label='a')\nplt.title('t')\nplt.xlabel('x')"
    "\nplt.legend()\nplt.savefig('p.png')\nplt.show()",
    "import matplotlib.pyplot as plt\nimport numpy as np\nfig, axes = plt.subplots(1, 2)\naxes[0].bar(['a', 'b'], [1, 2])"
    "\naxes[1].scatter(np.arange(3), np.arange(3))\nfig",
    "import random, math\nx = [random.random() for _ in range(3)]\nif x:\n    y = math.floor(x[0])\nprint(x, y)",
    "def g(n):\n    return n * 2\nfor i in range(3):\n    print(g(i))",
    "x = 5",
    "import asyncio\nawait asyncio.sleep(0)",
    "import asyncio\nasync def main():\n    return 1\nasyncio.run(main())",
    "import json, re, datetime\njson.loads(json.dumps({'a': [1, None]})), re.sub('a+', 'b', 'caat'), datetime.datetime(2024, 1, 1)",
)


def _spec_of(code, filename="main.py"):
    return _encode(
        {
            "code": code,
            "language": "python",
            "filename": filename,
            "args": [],
            "env": _WARM_ENV,
            "birth": "5a" * 32,
            "svg": False,
        }
    )


def _walk(code):
    global _turns
    turn_bytes(_encode(_spec_of(code)).encode("utf-8"))
    _turns = 0


def _refuse_open_files():
    opened = []
    for fd in range(4, 64):
        try:
            os.fstat(fd)
        except OSError:
            continue
        opened.append(fd)
    if opened:
        raise RuntimeError(f"the image would hold open files: {opened}")


def _forget():
    """Takes away everything that the walks left."""
    global _turns, _main, _loop, _svg
    matplotlib.pyplot.close("all")
    _main = _loop = None
    asyncio.events.set_event_loop(None)
    builtins.__dict__.pop("_", None)
    for name in list(_sources):
        linecache.cache.pop(name, None)
    linecache.cache.pop(f"{HOME}/main.py", None)
    _sources.clear()
    linecache._interactive_cache.clear()
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        sys.__dict__.pop(name, None)
    _importers.pop(HOME, None)
    tempfile._name_sequence = tempfile.tempdir = None
    sys.argv = [""]
    _svg = False
    _turns = 0
    _modules["__main__"] = _Module("__main__")
    restore_streams()
    gc.collect()


# Free memory that the image ends with, so that a run of ordinary size never asks the host for more.
_SLACK = 16 << 20


def _plug():
    """Fills the holes of the heap, the large ones first, until every allocation comes from its end.

    A run then takes its objects from a few new pages instead of from hundreds of old ones, each of which would have
    to be copied for it and put back after it.
    """
    plugs = []
    top = id(bytes(_SLACK))
    size = 1 << 20
    while size > 2:
        while True:
            block = bytes(size)
            plugs.append(block)
            if id(block) >= top:
                break
        size = size * 3 // 4 if size > 512 else size - 8
    objects = []
    while not objects or id(objects[-1]) < top:
        objects.append(object())
    return plugs, objects


def _seal(source):
    global _warming, _plugs
    # Often enough that the interpreter has specialized the code on these paths and stops writing to it.
    for code in _WALKS * 6 + (_HOT,) * 200:
        _walk(code)
    _refuse_open_files()
    leave_unseeded()
    _plugs = []
    for _ in range(3):
        _forget()
        _plugs.append(_plug())
        for _ in range(20):
            _walk(_HOT)
    _forget()
    _warming = False
    _reactor._cofferdam_turn = turn_bytes
    gc.collect()
    gc.freeze()
    return 0


_reactor._cofferdam_turn = _seal

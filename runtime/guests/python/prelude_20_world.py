"""What this world does not have, said in words: network, threads, processes, foreign code, more packages.

CPython for WASI has most of these modules and fails with bare errno values or missing attributes. A model that
reads the sentences below knows what to do instead.
"""

import _socket
import _thread
import errno
import http.client
import socket
import subprocess
import threading
import urllib.request
from importlib.machinery import ModuleSpec

_NO_NETWORK = (
    "no network in this sandbox: there are no sockets and no name resolution; HTTP works where it is granted to the run, "
    "by urllib.request and http.client"
)
_NO_TLS = "no TLS in this sandbox: where HTTP is granted, https works by urllib.request and http.client without ssl"
_NO_THREADS = (
    "threads are not available in this sandbox: call the functions one after the other, or use asyncio for work that waits"
)
_NO_PROCESSES = (
    "processes are not available in this sandbox: there is no shell and no program to start; "
    "use Python's own modules (os, pathlib, shutil, ...) instead"
)
_NO_FOREIGN = (
    "ctypes cannot load libraries in this sandbox: nothing native can be loaded; use numpy or plain Python instead"
)
_PACKAGES = (
    "numpy, pandas, scipy, scikit-learn (sklearn), statsmodels, matplotlib, seaborn, sympy, networkx, pillow (PIL), "
    "openpyxl, xlsxwriter, xlrd, lxml, beautifulsoup4 (bs4), html5lib, pypdf, reportlab, pyyaml (yaml), jinja2, regex, "
    "python-dateutil, tabulate, tqdm, attrs, more-itertools, toolz, joblib, fontTools, sqlite3"
)


def _refuses(make, name):
    def refuse(*args, **kwargs):
        raise make()

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__module__ = "builtins"
    return refuse


def _no_network():
    return OSError(errno.ENETUNREACH, _NO_NETWORK)


def _no_name():
    return socket.gaierror(_NO_NETWORK)


def _no_process():
    return OSError(errno.ENOSYS, _NO_PROCESSES)


def _no_thread():
    return RuntimeError(_NO_THREADS)


def _no_library():
    return OSError(_NO_FOREIGN)


class _NoSocket(socket.socket):
    def __init__(self, *args, **kwargs):
        raise OSError(errno.ENETUNREACH, _NO_NETWORK)

    def __del__(self):
        pass

    def __repr__(self):
        return "<socket: no network in this sandbox>"


_NoSocket.__name__ = _NoSocket.__qualname__ = "socket"
_NoSocket.__module__ = "socket"
socket.socket = socket.SocketType = _NoSocket
for _name in ("create_connection", "create_server", "socketpair", "fromfd"):
    setattr(socket, _name, _refuses(_no_network, _name))
for _name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo", "getfqdn"):
    setattr(socket, _name, _refuses(_no_name, _name))
socket.gethostname = lambda: "sandbox"


_thread.start_new_thread = _thread.start_new = _refuses(_no_thread, "start_new_thread")
_thread.start_joinable_thread = threading._start_joinable_thread = _refuses(_no_thread, "start_joinable_thread")

for _name in ("system", "popen", "execv", "execve"):
    setattr(os, _name, _refuses(_no_process, _name))


def _os_lacks(name):
    """Libraries ask `hasattr(os, "fork")`, so what is absent stays absent, but says why."""
    if name in ("fork", "forkpty", "pipe", "posix_spawn", "posix_spawnp", "spawnv", "spawnl", "waitpid", "kill", "setsid"):
        raise AttributeError(f"os.{name}: {_NO_PROCESSES}", name=name, obj=os)
    raise AttributeError(f"module 'os' has no attribute {name!r}", name=name, obj=os)


os.__getattr__ = _os_lacks
subprocess.Popen.__init__ = _refuses(_no_process, "Popen")
subprocess.Popen.__del__ = lambda self: None


def _lame_ctypes(module):
    module.CDLL = module.PyDLL = module.WinDLL = module.OleDLL = _refuses(_no_library, "CDLL")
    module.cdll = module.pydll = types.SimpleNamespace(LoadLibrary=module.CDLL)


def _lame_multiprocessing(module):
    for name in ("Process", "Pool", "Manager", "Queue", "SimpleQueue", "Pipe", "Value", "Array"):
        setattr(module, name, _refuses(_no_process, name))


def _calm_tqdm(module):
    module.tqdm.monitor_interval = 0  # or it warns that it cannot start its thread


_AMENDED = {"ctypes": _lame_ctypes, "multiprocessing": _lame_multiprocessing, "tqdm": _calm_tqdm}
_ABSENT = {
    "_multiprocessing": _NO_PROCESSES,
    "fcntl": "fcntl is not available in this sandbox",
    "tkinter": "tkinter is not available in this sandbox: there is no display; use matplotlib, whose figures are shown",
    "_tkinter": "tkinter is not available in this sandbox: there is no display; use matplotlib, whose figures are shown",
    "ssl": _NO_TLS,
    "_ssl": _NO_TLS,
}
_SYNTHETIC = {}


class _Finder:
    """Answers for modules that this world does not have, has differently, or makes itself."""

    busy = set()

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in _ABSENT:
            raise ImportError(_ABSENT[name], name=name)
        if name in _SYNTHETIC:
            return ModuleSpec(name, cls, is_package="." not in name)
        if name in _AMENDED and name not in cls.busy:
            cls.busy.add(name)
            try:
                spec = importlib.util.find_spec(name)
            finally:
                cls.busy.discard(name)
            if spec is not None:
                spec.loader = _Amender(spec.loader, _AMENDED[name])
            return spec
        return None

    @classmethod
    def create_module(cls, spec):
        return None

    @classmethod
    def exec_module(cls, module):
        _SYNTHETIC[module.__name__](module)


class _Amender:
    def __init__(self, loader, amend):
        self.loader, self.amend = loader, amend

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        self.amend(module)

    def __getattr__(self, name):
        return getattr(self.loader, name)


import importlib.util

import host

sys.meta_path.insert(0, _Finder)


class _Quitter:
    """`exit()` and `quit()`: they end the turn and, unlike the site module's, leave stdin open."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"Use {self.name}() to end the run"

    def __call__(self, code=None):
        raise SystemExit(code)


builtins.exit = _Quitter("exit")
builtins.quit = _Quitter("quit")


def missing_module_note(error):
    """What to tell about a failed import, or None."""
    name = (error.name or "").partition(".")[0]
    if not name or name in sys.stdlib_module_names or name in _modules or not str(error).startswith("No module named"):
        return None
    return f"{name!r} is not installed, and packages cannot be installed in this sandbox (no pip). Here are: {_PACKAGES}"

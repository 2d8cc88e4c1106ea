"""Tracebacks that a person or a model can use: the user's own frames, with their source lines, bounded.

The frames of the libraries have no source here and only hide the line that matters, so they are left out.
"""

import linecache
import traceback

_TracebackException = traceback.TracebackException
_Traceback = types.TracebackType
_KEPT_SOURCES = 256
# What CPython adds to a ModuleNotFoundError here; it would send a reader the wrong way.
_NO_SITE = (
    ". Site initialization is disabled, did you forget to add the site-packages directory to sys.path "
    "or to enable your virtual environment?"
)
_sources = {}


class _Source(list):
    """The lines of one execution, split when a traceback first asks for them."""

    def __init__(self, text):
        self.text = text

    def fill(self):
        if self.text is not None:
            text, self.text = self.text, None
            self.extend(_StringIO(text, None).readlines())
        return self

    def __len__(self):
        return list.__len__(self.fill())

    def __getitem__(self, at):
        return list.__getitem__(self.fill(), at)

    def __iter__(self):
        return list.__iter__(self.fill())


def remember_source(name, text, cache=linecache.cache):
    """Makes the source known to `linecache` under the name that its code objects have."""
    # The second name is `__main__.__file__`, by which `inspect` looks for classes.
    cache[name] = cache[f"{HOME}/main.py"] = (len(text), None, _Source(text), name)
    _sources[name] = True
    if len(_sources) > _KEPT_SOURCES:
        oldest = next(iter(_sources))
        del _sources[oldest]
        cache.pop(oldest, None)


def _is_users(filename):
    return filename in _sources or not filename.startswith(("/usr/local/lib/", "<frozen ", "<turn ", "<reactor>"))


def _users_frames(trace):
    frames = []
    while trace is not None:
        if _is_users(trace.tb_frame.f_code.co_filename):
            frames.append(trace)
        # Unlinked as we go: freeing a long chain at once recurses in C.
        after = trace.tb_next
        trace.tb_next = None
        trace = after
    kept = None
    for frame in reversed(frames):
        kept = _Traceback(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept


def _strip(error, seen):
    """Takes the library's and our own frames out of an exception and of all that hang from it."""
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen or len(seen) > 200:
            continue
        seen.add(id(error))
        error.__traceback__ = _users_frames(error.__traceback__)
        waiting.append(error.__cause__)
        waiting.append(error.__context__)
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)


def _clip_messages(formatted, depth=0):
    if formatted is None or depth > 64:
        return
    if isinstance(formatted._str, str):
        formatted._str = clip(formatted._str, MESSAGE_CAP)
    _clip_messages(formatted.__cause__, depth + 1)
    _clip_messages(formatted.__context__, depth + 1)
    for inner in formatted.exceptions or ():
        _clip_messages(inner, depth + 1)


def _message(error):
    try:
        return clip(str(error), MESSAGE_CAP)
    except BaseException:
        return "<the exception's own str() failed>"


def _note(error):
    if isinstance(error, ModuleNotFoundError):
        return missing_module_note(error)
    if isinstance(error, SyntaxError) and (error.text or "").lstrip().startswith(("!", "%")):
        return "lines that start with '!' or '%' are notebook commands; this is plain Python, and there is no shell"
    if isinstance(error, RecursionError):
        return "recursion is limited in this sandbox; use a loop, or sys.setrecursionlimit for plain Python functions"
    return None


def describe(error, name, filename):
    """The request that reports an exception. `name` is what its code objects call the running source."""
    kind = type(error).__name__
    try:
        if isinstance(error, SyntaxError) and error.filename == name:
            error.filename = filename
        message = _message(error)
        note = _note(error)
        if note is not None:
            message = f"{message}\n{note}" if message else note
        _strip(error, set())
        formatted = _TracebackException(type(error), error, error.__traceback__, compact=True)
        _clip_messages(formatted)
        text = "".join(formatted.format())
        if note is not None:
            text = f"{text}{note}\n"
        text = text.replace(_NO_SITE, "")
        if name != filename:
            text = text.replace(f'File "{name}"', f'File "{filename}"')
        text = clip(text, TRACEBACK_CAP)
    except BaseException as trouble:
        message = _message(error)
        text = f"{kind}: {message}\n(the traceback could not be made: {type(trouble).__name__})\n"
    return {"op": "error", "name": kind, "message": message, "traceback": text}


def exit_code(error):
    """Python's own rules for SystemExit: nothing is 0, a number is itself, anything else is printed and is 1."""
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        # What C's `long` cannot hold is -1, as in CPython; an exit code has 32 bits.
        code = int(code) if -(2**63) <= code < 2**63 else -1
        return (code + 2**31) % 2**32 - 2**31
    try:
        sys.stderr.write(f"{code}\n")
    except Exception:
        pass
    return 1

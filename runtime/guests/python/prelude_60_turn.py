"""A turn: one spec in, the user's code run in `__main__`, results and errors out through the door.

The reactor's own `turn` parses, compiles and runs Python for each turn; a spec goes past all that: a turn whose
text is a JSON string is taken as a spec.
"""

import ast
import logging
import tempfile
import textwrap
import time

import _reactor

_ONLY_AST = 0x400
_TOP_LEVEL_AWAIT = 0x2000
_IS_COROUTINE = 0x80
_Expr = ast.Expr
_Expression = ast.Expression
_compile = builtins.compile
_environ_data = os.environ._data
_importers = sys.path_importer_cache

_main = None
_turns = 0
_env = None
_env_data = None


def _fresh_main(filename):
    """A `__main__` without a trace of the prelude, made after the image was frozen."""
    global _main
    module = _Module("__main__")
    _main = module.__dict__
    _main["__builtins__"] = builtins
    _main["__file__"] = f"{HOME}/{filename}"
    _modules["__main__"] = module


def _born(birth):
    """What must differ between two sandboxes of one image: generators and cached clocks."""
    reseed(birth)
    logging._startTime = time.time_ns()
    tempfile._name_sequence = None


def _set_env(env):
    global _env, _env_data
    environ = os.environ
    for name in [name for name in environ if name not in env]:
        del environ[name]
    for name, value in env.items():
        if environ.get(name) != value:
            environ[name] = value
    _env, _env_data = env, dict(environ._data)


def _restore():
    """Before a further turn of a session: what the one before may have bent."""
    restore_streams()
    if sys.gettrace() is not None:
        sys.settrace(None)
    if sys.getprofile() is not None:
        sys.setprofile(None)
    sys.excepthook = sys.__excepthook__
    sys.displayhook = sys.__displayhook__
    if _get_limit() != RECURSION_LIMIT:
        try:
            _set_limit(RECURSION_LIMIT)
        except RecursionError:
            pass
    finder = _importers.get(HOME)
    if finder is not None:
        finder.invalidate_caches()
    builtins.display = display


def _parse(code, name):
    try:
        return _compile(code, name, "exec", _ONLY_AST | _TOP_LEVEL_AWAIT, True)
    except IndentationError:
        # A snippet cut out of a deeper place: every line is indented by the same.
        flat = textwrap.dedent(code)
        if flat == code:
            raise
        remember_source(name, flat)
        return _compile(flat, name, "exec", _ONLY_AST | _TOP_LEVEL_AWAIT, True)


def _compile_parts(code, name):
    """The code before the last line, and the last line as an expression, compiled as text; None where it is not so.

    A syntax tree in Python's objects, which tells this of any code, costs as much again as compiling.
    """
    text = code.rstrip()
    start = text.rfind("\n") + 1
    called, opened, _ = text[start:].partition("(")
    # A name or a call from the first column to the end, by its looks.
    if opened and text[-1] != ")" or not called.replace(".", "").isidentifier():
        return None
    try:
        # What is open at the end of the first part (a bracket, a text, a block) is a SyntaxError, and so it is whole.
        first = _compile(text[:start], name, "exec", _TOP_LEVEL_AWAIT, True) if start else None
        last = _compile("\n" * text.count("\n") + text[start:], name, "eval", _TOP_LEVEL_AWAIT, True)
    except Exception:
        return None
    return first, last


def _compile_tree(code, name):
    tree = _parse(code, name)
    body = tree.body
    first = last = None
    # Both are compiled before either runs: a SyntaxError runs nothing.
    if body and type(body[-1]) is _Expr:
        last = _compile(_Expression(body.pop().value), name, "eval", _TOP_LEVEL_AWAIT, True)
    if body:
        first = _compile(tree, name, "exec", _TOP_LEVEL_AWAIT, True)
    return first, last


async def _awaited(first, last):
    """Both halves of a turn inside the event loop, if either of them awaits."""
    value = None
    for code in (first, last):
        if code is not None:
            value = eval(code, _main)
            if code.co_flags & _IS_COROUTINE:
                value = await value
    return value if last is not None else None


def _execute(code, name):
    """Runs the code; the value is the last statement's where that is an expression."""
    first, last = _compile_parts(code, name) or _compile_tree(code, name)
    if first is not None and first.co_flags & _IS_COROUTINE or last is not None and last.co_flags & _IS_COROUTINE:
        return run_coroutine(_awaited(first, last))
    if first is not None:
        eval(first, _main)
    return None if last is None else eval(last, _main)


def _run(spec):
    global _turns, _svg
    code, filename = spec["code"], spec["filename"]
    if spec["birth"] is not None:
        _born(spec["birth"])
    name = filename
    if _turns:
        _restore()
        name = f"{filename} (run {_turns + 1})"
    else:
        _fresh_main(filename)
    _turns += 1
    if spec["env"] != _env or _environ_data != _env_data:
        _set_env(spec["env"])
    sys.argv = [filename, *spec["args"]]
    _svg = spec["svg"]
    remember_source(name, code)
    try:
        try:
            value = _execute(code, name)
            if value is not None:
                builtins._ = value
                if not code.rstrip().endswith(";"):
                    show(value, True)
                value = None
            if _FIGURES:
                show_figures()
        finally:
            flush()
        return 0
    except SystemExit as error:
        if _FIGURES:
            _last_figures()
        status = 2
        send({"op": "exit", "code": exit_code(error)})
    except BaseException as error:
        status = 1
        report = describe(error, name, filename)
        if _FIGURES:
            _last_figures()
        send(report)
    flush()
    return status


def _last_figures():
    """The figures that a failed turn left: shown if they can be, closed in any case."""
    try:
        show_figures()
    except BaseException:
        _FIGURES.clear()


def turn(spec):
    """One turn, of a spec in JSON. 0: ran to its end; 1: raised; 2: ended itself."""
    return _run(_scan(spec, 0)[0])


def turn_bytes(source):
    """The same for a turn's raw text: a JSON string literal that has the spec in it."""
    return _run(_scan(_scan_string(source.decode("utf-8"), 1, False)[0], 0)[0])


# The C side keeps the function object that it found when it started, so its code is exchanged, not the name.
_reactor._cofferdam_turn = turn_bytes
_reactor._plain_turn = types.FunctionType(_reactor.turn.__code__, vars(_reactor), "turn")


def _dispatch(source, environ):
    if environ is None and source is not None and source[:2] == b'"{':
        return _cofferdam_turn(source), False
    return _plain_turn(source, environ)


_reactor.turn.__code__ = _dispatch.__code__

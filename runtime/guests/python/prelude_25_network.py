"""HTTP and deployed tools, as far as they are granted: every request goes through the door, and the host decides.

There are no sockets here and no TLS: the gateway makes the connection. `http.client` gets a stand-in for a socket that
turns the request written into it into one request through the door, so that what is built on it (`urllib.request`,
`http.client`, packages that use them) works as elsewhere.
"""

import base64
import email.utils
import inspect
import keyword
import re

_HOP_BY_HOP = frozenset((
    "host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "trailer", "upgrade",
    "content-length", "expect",
))


class ToolError(Exception):
    """A tool that was called failed, or its caller gave it what it does not take."""


def _raise_refusal(refused, message):
    if refused in ("policy", "private-address", "token"):
        code = errno.ENETUNREACH if message.startswith("no network") else errno.EACCES
        raise OSError(code, message) if code == errno.ENETUNREACH else PermissionError(code, message)
    if refused == "dns":
        raise socket.gaierror(socket.EAI_NONAME, message)
    if refused == "timeout":
        raise TimeoutError(message)
    if refused == "connect":
        raise ConnectionError(message)
    raise OSError(errno.EIO, message)


def ask(request):
    """A request through the door that has an answer; the host's refusal is an exception."""
    flush()
    try:
        answer = _door_call(_encode(request).encode("utf-8", "surrogatepass"))
    except Exception as error:
        raise OSError(errno.EIO, str(error)) from None
    return _scan(bytes(answer).decode("utf-8"), 0)[0]


def exchange(method, url, headers, body, timeout=None):
    """One HTTP request: (status, headers, body)."""
    request = {"op": "http", "method": method, "url": url, "headers": headers}
    if body:
        request["body"] = base64.b64encode(body).decode("ascii")
    if timeout is not None and timeout > 0:
        request["timeout_ms"] = max(1, int(timeout * 1000))
    answer = ask(request)
    if "refused" in answer:
        _raise_refusal(answer["refused"], answer["message"])
    return answer["status"], answer["headers"], base64.b64decode(answer["body"])


def _dechunk(data):
    """The body that was written in chunks."""
    parts = []
    while True:
        size, _, data = data.partition(b"\r\n")
        size = int(size.partition(b";")[0] or b"0", 16)
        if size == 0:
            return b"".join(parts)
        parts.append(data[:size])
        data = data[size + 2 :]


class _Wire:
    """In a socket's place below `http.client`: keeps what is written, and asks the host once a request is whole, so
    that what fails does so where connecting would.
    """

    def __init__(self, scheme, host, port, timeout):
        default = 443 if scheme == "https" else 80
        name = f"[{host}]" if ":" in host else host
        self._origin = f"{scheme}://{name}" if port in (None, default) else f"{scheme}://{name}:{port}"
        self._timeout = timeout if isinstance(timeout, (int, float)) else None
        self._written, self._length, self._head, self._answer = [], 0, None, b""

    def sendall(self, data, flags=0):
        self._written.append(bytes(data))
        self._length += len(data)
        if self._head is None:
            self._read_head()
        if self._head is not None and self._is_whole():
            self._exchange()

    def send(self, data, flags=0):
        self.sendall(data)
        return len(data)

    def _read_head(self):
        head, end, body = b"".join(self._written).partition(b"\r\n\r\n")
        if not end:
            return
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = [[name, value.strip()] for name, _, value in (field.partition(":") for field in fields)]
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        self._chunked = any(name.lower() == "transfer-encoding" and "chunked" in value.lower() for name, value in headers)
        self._wanted = int(lengths[0]) if lengths else 0
        self._written, self._length, self._head = [body], len(body), (line, headers)

    def _is_whole(self):
        if not self._chunked:
            return self._length >= self._wanted
        return b"".join(self._written[-3:]).endswith(b"0\r\n\r\n")

    def _exchange(self):
        (line, headers), body = self._head, b"".join(self._written)
        self._written, self._length, self._head = [], 0, None
        method, target, _ = line.split(" ", 2)
        if self._chunked:
            body = _dechunk(body)
        url = target if "://" in target.partition("?")[0] else self._origin + target
        headers = [pair for pair in headers if pair[0].lower() not in _HOP_BY_HOP]
        status, headers, body = exchange(method, url, headers, body, self._timeout)
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, '')}"]
        length = None if method == "HEAD" or status in (204, 304) else len(body)
        for name, value in headers:
            if name.lower() in _HOP_BY_HOP and (length is not None or name.lower() != "content-length"):
                continue
            lines.append(f"{name}: {value}")
        if length is not None:
            lines.append(f"Content-Length: {length}")
        lines.append("Connection: close")
        self._answer = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body

    def makefile(self, mode="r", *args, **kwargs):
        answer, self._answer = self._answer, b""
        return io.BufferedReader(_BytesIO(answer))

    def settimeout(self, timeout):
        self._timeout = timeout

    def gettimeout(self):
        return self._timeout

    def setsockopt(self, *args):
        pass

    def shutdown(self, how):
        pass

    def close(self):
        pass

    def fileno(self):
        return -1


def _connect(self):
    self.sock = _Wire("http", self.host, self.port, self.timeout)


class HTTPSConnection(http.client.HTTPConnection):
    """HTTPS by the gateway, which makes and checks the TLS connection; certificates are not the code's business here."""

    default_port = 443

    def __init__(self, host, port=None, *, timeout=socket._GLOBAL_DEFAULT_TIMEOUT, source_address=None, context=None,
                 blocksize=8192, **unused):
        super().__init__(host, port, timeout, source_address, blocksize)

    def connect(self):
        self.sock = _Wire("https", self.host, self.port, self.timeout)


HTTPSConnection.__module__ = "http.client"
http.client.HTTPConnection.connect = _connect
http.client.HTTPSConnection = HTTPSConnection
if "HTTPSConnection" not in http.client.__all__:
    http.client.__all__.append("HTTPSConnection")


class HTTPSHandler(urllib.request.AbstractHTTPHandler):
    def __init__(self, debuglevel=None, context=None, check_hostname=None):
        super().__init__(debuglevel)

    def https_open(self, req):
        return self.do_open(http.client.HTTPSConnection, req)

    https_request = urllib.request.AbstractHTTPHandler.do_request_


HTTPSHandler.__module__ = "urllib.request"
urllib.request.HTTPSHandler = HTTPSHandler
# Proxies are the gateway's business, and looking for them reads the environment at every request.
urllib.request.getproxies = lambda: {}


# Deployed tools: `from host import tools`, then `tools.NAME(argument=...)`.

_JSON_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list", "object": "dict",
               "null": "None"}


def _type_of(schema):
    """A schema in the words of Python's annotations."""
    if not isinstance(schema, dict):
        return "object"
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_JSON_TYPES.get(name, "object") for name in kind)
    if kind == "array" and isinstance(schema.get("items"), dict):
        return f"list[{_type_of(schema['items'])}]"
    if kind is None and isinstance(schema.get("enum"), list):
        return "str"
    if kind is None:
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(options, list):
            return " | ".join(dict.fromkeys(_type_of(option) for option in options))
    return _JSON_TYPES.get(kind, "object")


def _identifier(name):
    name = re.sub(r"\W", "_", name)
    return name + "_" if keyword.iskeyword(name) or not name[:1].isidentifier() else name


def _make_tool(granted):
    tool, function = granted["tool"], granted["function"]
    schema = function.get("input_schema") or {}
    properties = schema.get("properties") or {}
    required = schema.get("required") or ()
    names = {_identifier(name): name for name in properties}
    parameters = sorted(
        (
            inspect.Parameter(
                python,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if name in required else None,
                annotation=_type_of(properties[name]),
            )
            for python, name in names.items()
        ),
        key=lambda parameter: parameter.default is not inspect.Parameter.empty,
    )
    result = _type_of(function.get("output_schema"))
    signature = inspect.Signature(parameters, return_annotation=result)

    def call(*args, **kwargs):
        given = signature.bind(*args, **kwargs).arguments
        arguments = {
            names[python]: value for python, value in given.items() if value is not None or names[python] in required
        }
        answer = ask({"op": "tool", "tool": tool, "function": function["name"], "arguments": arguments})
        if "refused" in answer:
            if answer["refused"] in ("timeout", "internal"):
                _raise_refusal(answer["refused"], answer["message"])
            raise ToolError(answer["message"])
        if answer["status"] != "ok":
            error = answer.get("error") or {}
            raise ToolError(f"{granted['name']}: {error.get('message') or answer['status']}")
        return answer.get("result")

    lines = [function.get("description") or granted["name"]]
    described = [(python, properties[name].get("description")) for python, name in names.items()]
    if any(text for _, text in described):
        lines += ["", *(f"{python}: {text}" for python, text in described if text)]
    call.__name__ = call.__qualname__ = _identifier(granted["name"])
    call.__module__ = "host.tools"
    call.__signature__ = signature
    call.__doc__ = "\n".join(lines)
    return call


def _tools_module(module):
    """Fills `host.tools` with what is granted, asked for when it is imported."""
    answer = ask({"op": "tools"})
    if isinstance(answer, dict):
        raise ImportError(answer["message"], name="host.tools")
    functions = [_make_tool(granted) for granted in answer]
    vars(module).update((function.__name__, function) for function in functions)
    module.__all__ = sorted(function.__name__ for function in functions)
    module.ToolError = ToolError
    module.__doc__ = "Deployed tools that this run may call:\n" + "\n".join(
        f"  {function.__name__}{inspect.signature(function)}" for function in functions
    )


ToolError.__module__ = "host.tools"
_SYNTHETIC["host.tools"] = _tools_module


def _host_attribute(name):
    if name == "tools":
        return importlib.import_module("host.tools")
    raise AttributeError(f"module 'host' has no attribute {name!r}", name=name, obj=host)


host.__getattr__ = _host_attribute

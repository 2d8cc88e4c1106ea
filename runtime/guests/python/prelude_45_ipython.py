"""`IPython.display`, as far as snippets that were written for a notebook use it."""


class _Raw:
    def __init__(self, data=None, *args, filename=None, **options):
        if filename is not None:
            with open(filename, "rb") as file:
                data = file.read()
        self.data = data

    def __repr__(self):
        return f"<IPython.display.{type(self).__name__} object>"


def _raw_class(name, mime):
    def bundle(self, include=None, exclude=None):
        data = self.data
        if name == "Image" and isinstance(data, str):
            with open(data, "rb") as file:
                data = file.read()
        kind = "image/jpeg" if name == "Image" and bytes(data[:2]) == b"\xff\xd8" else mime
        return {kind: data}

    return type(name, (_Raw,), {"_repr_mimebundle_": bundle, "__module__": "IPython.display"})


def _make_ipython(module):
    module.version_info = (9, 0, 0, "")
    module.__version__ = "9.0.0"
    module.get_ipython = lambda: None
    module.__path__ = []


def _make_ipython_display(module):
    module.display = display
    module.clear_output = lambda wait=False: None
    for name, mime in (
        ("HTML", "text/html"),
        ("Markdown", "text/markdown"),
        ("Latex", "text/latex"),
        ("SVG", "image/svg+xml"),
        ("JSON", "application/json"),
        ("Javascript", "application/javascript"),
        ("Image", "image/png"),
        ("Pretty", "text/plain"),
    ):
        setattr(module, name, _raw_class(name, mime))


_SYNTHETIC["IPython"] = _make_ipython
_SYNTHETIC["IPython.display"] = _make_ipython_display

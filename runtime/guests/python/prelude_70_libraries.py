"""The libraries that are in the image: imported once, here, so that an `import` in user code is a dictionary look-up.

matplotlib's data folder is mounted at `/usr/local/lib/mpl-data`; its fonts are read into memory, because an image may
not hold an open file.
"""

import collections
import contextlib
import copy
import csv
import dataclasses
import enum
import fractions
import functools
import glob
import hashlib
import heapq
import importlib
import inspect
import itertools
import operator
import pathlib
import pickle
import pprint
import re
import shutil
import sqlite3
import statistics
import string
import typing
import unittest.mock
import uuid
import warnings
import xml.etree.ElementTree
import zipfile
import zoneinfo

MPL_DATA = "/usr/local/lib/mpl-data"
os.environ["MPLCONFIGDIR"] = "/tmp/.matplotlib"
os.environ["MPLBACKEND"] = "agg"

import numpy
import numpy.random
import pandas

_seed_twister = numpy.random.mtrand._rand._bit_generator._legacy_seeding


def _seed_numpy(number):
    # A plain 32-bit seed: an array of words costs five times as much. `default_rng` asks the host for its own.
    _seed_twister(number & 0xFFFFFFFF)


# matplotlib looks for its data beside its own `__file__`, which is inside the zip; it is told another place.
_spec = importlib.util.find_spec("matplotlib")
_spec.origin = os.path.join(os.path.dirname(MPL_DATA), "__init__.py")
_modules["matplotlib"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_modules["matplotlib"])

import matplotlib.font_manager
import matplotlib.ft2font


class _Font(_BytesIO):
    """A font file's content under its name."""

    def __init__(self, path):
        with open(path, "rb") as file:
            super().__init__(file.read())
        self.name = str(path)


_FT2Font = matplotlib.ft2font.FT2Font


class _FontsInMemory:
    """What `font_manager` sees of `ft2font`: the same, but fonts named by a path are read whole and closed."""

    def __getattr__(self, name):
        return getattr(matplotlib.ft2font, name)

    @staticmethod
    def FT2Font(file, *args, **kwargs):
        return _FT2Font(_Font(file) if isinstance(file, (str, os.PathLike)) else file, *args, **kwargs)


matplotlib.font_manager.ft2font = _FontsInMemory()

import matplotlib.pyplot
from matplotlib._pylab_helpers import Gcf as _Gcf
from matplotlib.backend_bases import FigureManagerBase as _Manager

_FIGURES = _Gcf.figs
_Manager.pyplot_show = classmethod(lambda cls, *, block=None: show_figures())
_Manager.show = lambda self: show_figure(self)


def show_figure(manager):
    """`figure.show()`."""
    show(manager.canvas.figure)


del os.environ["MPLBACKEND"], os.environ["MPLCONFIGDIR"]

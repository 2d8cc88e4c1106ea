"""The libraries that are in the image: imported once, here, so that an `import` in user code is a dictionary look-up."""

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

import numpy
import numpy.random
import pandas

_seed_twister = numpy.random.mtrand._rand._bit_generator._legacy_seeding


def _seed_numpy(number):
    # A plain 32-bit seed: an array of words costs five times as much. `default_rng` asks the host for its own.
    _seed_twister(number & 0xFFFFFFFF)

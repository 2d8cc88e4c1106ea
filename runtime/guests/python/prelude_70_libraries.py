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

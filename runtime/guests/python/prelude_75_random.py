"""The generators that all sandboxes of an image would share: seeded anew in each, when somebody first reaches for one.

The only ways to them are the modules below, which the sealing checks; until its first use such a module is of a class
that seeds before it answers. `secrets`, `uuid`, `os.urandom`, `random.Random()` and `default_rng` ask the host.
"""

import _random
import random

_seed = _random.Random.seed
_generator = random._inst
_twister = numpy.random.mtrand._rand
_seed_twister = _twister._bit_generator._legacy_seeding
_SHARED = (random, numpy.random, numpy.random.mtrand)
_birth = None


class _Unseeded(_Module):
    def __getattribute__(self, name):
        _seed_all()
        return getattr(self, name)


_Unseeded.__name__ = _Unseeded.__qualname__ = "module"
_Unseeded.__module__ = "builtins"


def _seed_all():
    for module in _SHARED:
        module.__class__ = _Module
    number = int(_birth, 16)
    _seed(_generator, number)
    _generator.gauss_next = None
    # A plain 32-bit seed: an array of words costs five times as much.
    _seed_twister(number & 0xFFFFFFFF)


def reseed(birth):
    """At each birth: at once if the generators have been in use, else when they come into use."""
    global _birth
    _birth = birth
    if type(random) is _Module:
        _seed_all()


def leave_unseeded():
    """For the image. Fails if a generator can be reached past its module."""
    for name, module in list(_modules.items()):
        if type(module) is not _Module or module in _SHARED or name in ("_cofferdam", "__main__"):
            continue
        for key, value in list(vars(module).items()):
            try:
                owner = getattr(value, "__self__", None)
            except Exception:
                continue
            if any(one is _generator or one is _twister for one in (value, owner)):
                raise RuntimeError(f"{name}.{key} would be the same in all sandboxes")
    for module in _SHARED:
        module.__class__ = _Unseeded

"""The functions of `wit/hello.wit`. componentize-py makes the class that this one extends."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.greeting import Language, Options

WORDS = {Language.ENGLISH: "Hello", Language.FRENCH: "Bonjour", Language.GERMAN: "Hallo"}


class Greeting(exports.Greeting):
    def greet(self, name: str, options: Options | None) -> str:
        if not name.strip():
            raise Err("a name is needed")
        language = options.language if options else None
        marks = (options.excitement or 0) if options else 0
        if marks > 10:
            raise Err("that is too much excitement: at most 10")
        return f"{WORDS[Language.ENGLISH if language is None else language]}, {name}{'!' * marks or '.'}"

    def greet_all(self, names: list[str]) -> list[str]:
        return [self.greet(name, None) for name in names]

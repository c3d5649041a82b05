"""Parts by name: those of this package, and anyone's own as `package.module:attribute`."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from pydantic_core import PydanticCustomError

from minorkey.errors import ConfigError, OutsideError, closest, unknown
from minorkey.system.outside import OUTSIDE, admit, blamed, reason

Part = TypeVar("Part")

OWN = "or your own as package.module:attribute"


class Catalog(Generic[Part]):
    """All parts of one kind.

    Args:
        kind: what messages call one, e.g. `method`.
        shipped: name -> the part, or where it is, `package.module:attribute`; that is imported when asked for.
        expected: what an outside part has to be, in words, e.g. `a MethodSpec`.
        accepts: whether it is.
        aliases: further names -> names in `shipped`.

    >>> losses = Catalog("loss", {"sum": sum, "mean": "statistics:mean"}, "a function", callable)
    >>> losses.resolve("mean")([1, 2, 3]), losses.resolve("math:fsum")([1, 2])
    (2, 3.0)
    """

    def __init__(
        self,
        kind: str,
        shipped: Mapping[str, Part | str],
        expected: str,
        accepts: Callable[[Any], bool],
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.kind, self.shipped, self.expected, self.accepts = kind, shipped, expected, accepts
        self.aliases = aliases or {}

    def resolve(self, name: str) -> Part:
        """The part of this name.

        Raises:
            ConfigError: there is none; or it is an outside one, named by a file that may not do so.
            OutsideError: an outside part cannot be imported, or is not what is expected.
        """
        name = self.canonical(name)
        if name not in self.shipped:
            return self._outside(name)
        part = self.shipped[name]
        return _imported(part) if isinstance(part, str) else part

    def canonical(self, name: str) -> str:
        """A name for an alias, any other as it is; nothing is imported.

        Raises:
            ConfigError: no part has this name, which is no `package.module:attribute` either.
        """
        if not self.knows(name):
            known = unknown(self.kind, name, [*self.shipped, *self.aliases])
            raise ConfigError(f"{known}, {OWN}" if self.shipped else f"{self.kind} '{name}' is none; give {OWN[3:]}")
        return self.aliases.get(name, name)

    def admitted(self, name: str) -> str:
        """`canonical`, of a part that may be named; what needs it imports it. Validates a field of options.

        Raises:
            ConfigError: as `resolve`.
        """
        name = self.canonical(name)
        if name not in self.shipped:
            admit(name, f"{self.kind} '{name}'")
        return name

    def knows(self, name: str) -> bool:
        """Whether this names a part of this package, or looks like one from outside."""
        return name in self.shipped or name in self.aliases or OUTSIDE.fullmatch(name) is not None

    def checked(self, name: str) -> str:
        """`canonical`, of a part that was resolved: validates a field of options, in place of a `Literal` of names."""
        if self.shipped and not self.knows(name):
            expected = ", ".join([*self.shipped, OWN])
            raise PydanticCustomError("literal_error", "expected {expected}", {"expected": expected})
        self.resolve(name)
        return self.canonical(name)

    def _outside(self, name: str) -> Part:
        called = f"{self.kind} '{name}'"
        admit(name, called)
        try:
            part = _imported(name)
        except ModuleNotFoundError as error:
            raise OutsideError(f"{called}: {error}; install it, or put its folder on PYTHONPATH") from error
        except Exception as error:
            raise blamed(error) or OutsideError(f"{called} cannot be imported: {reason(error)}") from error
        if not self.accepts(part):
            what = f"the class {part.__name__}" if isinstance(part, type) else f"of type {type(part).__name__}"
            raise OutsideError(f"{called} is {what}; expected {self.expected} (docs/extending.md)")
        return part


def _imported(name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    module = importlib.import_module(module_name)
    if not hasattr(module, attribute):
        hint = closest(attribute, [known for known in vars(module) if not known.startswith("_")])
        raise ImportError(f"module '{module_name}' has no '{attribute}'{hint}")
    return getattr(module, attribute)

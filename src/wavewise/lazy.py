"""Packages whose public names load on first use."""

from types import ModuleType

__all__ = ["LazyPackage"]


class LazyPackage(ModuleType):
    """A package in which a function wins over the submodule of the same name.

    Loading a submodule binds it in its package under its own name; where a public function has that
    name, the function is bound instead. A package takes this class by
    ``sys.modules[__name__].__class__ = LazyPackage`` and lists its names in ``_HOMES``.
    """

    def __setattr__(self, name: str, value: object) -> None:
        homes: dict[str, str] = self.__dict__.get("_HOMES", {})
        if isinstance(value, ModuleType) and name in homes:
            value = getattr(value, name)
        super().__setattr__(name, value)

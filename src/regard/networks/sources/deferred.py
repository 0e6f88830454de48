"""Packages whose own code runs when something of it is first used, where one command needs little of what they load.

To make a plain ViT, timm and torchvision run the packages that its modules lie in: a hundred other architectures, all
of torchvision's detectors, and for a decorator in one and a helper in another `torch._dynamo`: more than importing
torch takes. A package that is deferred has its place and its submodules; its code runs, once and as always, when it is
asked for a name that it does not have yet. What timm fetches with, and all of huggingface_hub behind it, waits until
one of its functions is called. Only the command line defers, whose process is regard's own.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

FETCHING = "timm.models._hub"
"""A module whose functions timm's other modules import by name: its code runs when one is called, or any other name is
asked for."""
PACKAGES: dict[str, dict[str, str]] = {
    "timm": {"__version__": "timm.version"},
    "timm.data": {
        f"{name}_{kind}": "timm.data.constants"
        for name in ("IMAGENET_DEFAULT", "IMAGENET_INCEPTION", "OPENAI_CLIP")
        for kind in ("MEAN", "STD")
    },
    "timm.models": {},
    FETCHING: {},
    "torchvision": {},
    "torchvision.models": {},
    "torchvision.ops": {},
}
"""What is deferred, and names that a package takes from a light module of its own: its modules ask it for them."""

_LOCK = RLock()


class _DeferredPackage(ModuleType):
    """A package before its code has run; after it, an ordinary module."""

    def __getattr__(self, name: str) -> Any:
        light = PACKAGES[self.__name__].get(name)
        if light is not None:
            return getattr(import_module(light), name)
        if self.__name__ == FETCHING and name == "__path__":  # Python asks whether it is a package
            raise AttributeError(name)
        if self.__name__ == FETCHING and name.islower() and not name.startswith("_"):

            def called(*args: Any, **kwargs: Any) -> Any:
                _DeferredPackage._run(self)  # by its class, as this may be an ordinary module by now
                return getattr(self, name)(*args, **kwargs)

            return called
        self._run()
        return ModuleType.__getattribute__(self, name)  # an ordinary module by now

    def __dir__(self) -> list[str]:
        self._run()
        return list(ModuleType.__dir__(self))

    def _run(self) -> None:
        spec = self.__spec__
        assert spec is not None and spec.loader is not None
        with _LOCK:  # the code asks for names of the package itself while it runs: that thread must not begin anew
            if spec.loader_state is not _DeferredPackage:
                return
            spec.loader_state = None
            try:
                spec.loader.exec_module(self)
                self.__class__ = ModuleType  # type: ignore[assignment]
            except BaseException:
                spec.loader_state = _DeferredPackage
                raise


class _DeferringLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        module.__spec__.loader_state = _DeferredPackage
        module.__class__ = _DeferredPackage


class _Finder(MetaPathFinder):
    """Finds PACKAGES where they lie as files, and leaves everything else to Python."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in PACKAGES or target is not None:  # a target: it is reloaded
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader)
        return spec


def defer_imports() -> None:
    """Have PACKAGES deferred that nothing has imported yet."""
    sys.meta_path.insert(0, _Finder())

"""What lies in a folder of a store, as a tree: the same layouts of folders are found there as on a disk."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

from regard.data.images.formats import SUFFIXES
from regard.data.layouts.tree import UNREAD, Entries, Tree
from regard.data.openers import Opener
from regard.data.stores import Store, is_address
from regard.data.stores.objects import ObjectOpener


@dataclass
class StoreTree(Tree):
    """Objects of a store by their keys, listed once: pictures by their endings. Paths stand for keys below `root`."""

    store: Store = field(default_factory=lambda: Store.of("."))

    @classmethod
    def of(cls, address: str) -> "StoreTree":
        """The tree at an address. Raises `DataError` where it cannot be listed."""
        root = Path(address)
        tree = cls(root, store=Store.of(address))
        listing = tree._entries
        listing[root] = Entries([], [], [])
        for entry in tree.store.entries():
            path = root / entry.key
            for folder in reversed(path.parents[: len(PurePosixPath(entry.key).parts) - 1]):
                if folder not in listing:
                    listing[folder] = Entries([], [], [])
                    listing[folder.parent].folders.append(folder)
            if path.suffix.lower() in SUFFIXES:
                listing[path.parent].pictures.append(path)
            else:
                listing[path.parent].rest.append((path, UNREAD))
        return tree

    def opener(self, file: Path) -> Opener:
        return ObjectOpener(self.store.address, file.relative_to(self.root).as_posix())


@lru_cache(maxsize=2)
def listed_store(address: str) -> StoreTree:
    """The tree at an address, which is asked for once while DATA is looked at."""
    return StoreTree.of(address)


def tree_at(source: str | Path) -> Tree | None:
    """The tree of a folder, on a disk or in a store that can be listed; None where there is none."""
    text = str(source)
    if is_address(text):
        if text.startswith("http"):
            return None
        tree = listed_store(text)
        return tree if tree.has_pictures(tree.root) else None
    return Tree(Path(source)) if Path(source).is_dir() else None

"""One lock a module, for all networks around it."""

import gc
import threading
import weakref

import timm
from torch import nn

from regard.networks.guard import lock_of
from regard.networks.load import load


def test_a_module_has_one_lock_whoever_asks_for_it() -> None:
    module = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1)
    first = load(module)
    second = load(nn.DataParallel(module))
    assert first.module is second.module
    assert lock_of(first.module) is lock_of(second.module)
    assert lock_of(module) is not lock_of(nn.Linear(1, 1))


def test_a_lock_lets_its_thread_in_again_and_others_wait() -> None:
    module = nn.Linear(1, 1)
    entered = threading.Event()

    def enter() -> None:
        with lock_of(module):
            entered.set()

    with lock_of(module), lock_of(module):
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.05)
    thread.join(10)
    assert entered.is_set()


def test_threads_that_ask_at_once_get_the_same_lock() -> None:
    modules = [nn.Linear(1, 1) for _ in range(50)]
    locks: list[list[int]] = [[], []]
    start = threading.Barrier(2)

    def collect(ids: list[int]) -> None:
        start.wait(10)
        ids.extend(id(lock_of(module)) for module in modules)

    threads = [threading.Thread(target=collect, args=(ids,)) for ids in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert locks[0] == locks[1]
    assert len(set(locks[0])) == 50


def test_a_lock_does_not_keep_its_module() -> None:
    module = nn.Linear(1, 1)
    lock_of(module)
    alive = weakref.ref(module)
    del module
    gc.collect()
    assert alive() is None

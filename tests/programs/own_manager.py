"""A program's own managers: classes, proxies, exposed methods, nested proxies, and a client that connects by address."""

import multiprocessing
from multiprocessing.managers import BaseManager, BaseProxy, SyncManager


class Account:
    def __init__(self, owner, amount=0):
        self.owner, self._amount = owner, amount

    def pay(self, amount):
        if amount < 0:
            raise ValueError("less than nothing")
        self._amount += amount
        return self._amount

    def _audit(self):
        return "audited"


class AccountProxy(BaseProxy):
    _exposed_ = ("pay", "__getattribute__")

    @property
    def owner(self):
        return self._callmethod("__getattribute__", ("owner",))

    def pay(self, amount):
        return self._callmethod("pay", (amount,))


class Bank(BaseManager):
    pass


def letters():
    yield from "abc"


Bank.register("Account", Account, AccountProxy)
Bank.register("Audited", Account, exposed=("pay", "_audit"))
Bank.register("letters", letters, multiprocessing.managers.IteratorProxy)
shared = {"k": 1}
Bank.register("shared", lambda: shared, multiprocessing.managers.DictProxy)


def pay(account, times):
    for _ in range(times):
        account.pay(1)


def connect(address, key):
    Bank.register("shared")
    client = Bank(address=address, authkey=key)
    client.connect()
    client.shared().update({"from": "a client"})


if __name__ == "__main__":
    with Bank() as bank:
        account = bank.Account("ann", amount=5)
        workers = [multiprocessing.Process(target=pay, args=(account, 10)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(account.owner, account.pay(0))
        try:
            account.pay(-1)
        except ValueError as e:
            print("ValueError", e)
        audited = bank.Audited("bob")
        print(audited._audit(), [name for name in dir(audited) if name in ("pay", "_audit", "owner")])
        print(list(bank.letters()))
    with Bank(address=("127.0.0.1", 0), authkey=b"secret") as bank:
        client = multiprocessing.Process(target=connect, args=(bank.address, b"secret"))
        client.start()
        client.join()
        print(sorted(bank.shared().items()))
        try:
            Bank(address=bank.address, authkey=b"wrong").connect()
        except multiprocessing.AuthenticationError as e:
            print("AuthenticationError", e)
    with SyncManager() as manager:
        outer = manager.dict(inner=manager.list([1]), space=manager.Namespace(x=1))
        outer["inner"].append(manager.dict(deep=True))
        print(outer["inner"][1]["deep"], outer["space"].x, len(outer["inner"]))

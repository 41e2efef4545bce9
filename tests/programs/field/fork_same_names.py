"""Attributes of classes that are defined by running code, with the names of functions that use the classes."""

import multiprocessing as mp


class Registered(type):
    known = {}

    def __init__(cls, name, bases, space):
        super().__init__(name, bases, space)
        cls.known[name] = sorted(key for key in space if not key.startswith("_"))


class Dog(metaclass=Registered):
    work: int = 1
    show = "show"


class Pet(metaclass=Registered):
    def __init__(self, dog):
        self.dog = dog

    def show(self):
        return self.dog.work, self.dog.show


pet = Pet(Dog())


def show(one):
    return one.show(), Registered.known


def work():
    print(show(pet), type(pet.dog) is Dog)


if __name__ == "__main__":
    mp.set_start_method("fork")
    p = mp.Process(target=work)
    p.start()
    p.join()
    print(p.exitcode)

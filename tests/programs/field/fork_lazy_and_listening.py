"""Lazy objects of Django, which are made when they are needed; listeners of SQLAlchemy, for one engine and for all of them."""

import multiprocessing as mp

from django.utils.functional import LazyObject, SimpleLazyObject
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

made = []


def make():
    made.append("made")
    return {"a": 1}


class Settings(LazyObject):
    def _setup(self):
        made.append("set up")
        self._wrapped = {"b": 2}


lazy, unused, settings = SimpleLazyObject(make), {"one": SimpleLazyObject(make)}, Settings()
engine = create_engine("sqlite://")


@event.listens_for(engine, "before_cursor_execute")
def of_one(connection, cursor, statement, *rest):
    print("one:", statement)


@event.listens_for(Engine, "connect")
def of_all(connection, record):
    print("all:", type(connection).__name__)


@event.listens_for(Session, "after_commit")
def committed(session):
    print("committed")


def work():
    print(made, lazy["a"], settings["b"], made)
    with engine.begin() as connection:
        print(connection.execute(text("select 1")).scalar())
    with Session(engine) as session:
        session.execute(text("select 2"))
        session.commit()


if __name__ == "__main__":
    mp.set_start_method("fork")
    p = mp.Process(target=work)
    p.start()
    p.join()
    print(p.exitcode, made)

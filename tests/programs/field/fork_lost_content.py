"""An object that is also at a place of an installed module, with a part in C that cannot travel: all else of it arrives."""

import hashlib
import mimetypes
import multiprocessing

types = mimetypes.MimeTypes()
types.add_type("x/y", ".zz")
types.digest = hashlib.md5()
mimetypes._db = types


def show(_):
    return types.types_map[1].get(".zz"), sorted(vars(types)), mimetypes.types_map.get(".html")


if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.map(show, [1]))

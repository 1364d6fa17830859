"""The program of the process that holds one worker's environments of a user.

It is run by the interpreter that trains, and imports neither torch nor a3c_fast: `__main__.py` makes a package of this
directory, whatever its name in there.
"""

"""What can go wrong for a user, one class for each exit code of `ssl-pipe`.

The message is one line (or one line per finding) that names the file, the key or the sample, and says what to do.
"""


class PipeError(Exception):
    """A failure that the user can act on: printed without a traceback."""

    exit_code = 1


class ParamsError(PipeError):
    """params.yaml, `-S`, or a recipe in them is wrong."""

    exit_code = 2


class BadData(PipeError):
    """A shard, image, label or model file is not what it should be."""

    exit_code = 65


class Diverged(PipeError):
    """The loss is not finite."""

    exit_code = 70


class Collapsed(Diverged):
    """The features or the labels have collapsed to (nearly) one point or one class."""


class CannotWrite(PipeError):
    """The disk is full, or the folder is not ours to write."""

    exit_code = 73


class Locked(PipeError):
    """Another process is at work in the same folder."""

    exit_code = 75


class WrongVersion(PipeError):
    """The file was written by a version that this one cannot read."""

    exit_code = 76


class Preempted(PipeError):
    """SIGTERM came; the state is saved and the same command goes on from it."""

    exit_code = 143

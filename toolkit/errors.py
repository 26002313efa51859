"""Every error a user can meet, each with the exit code the command line ends with."""


class ToolkitError(Exception):
    """A problem that is told in one line, without a traceback; `exit_code` is what the process ends with."""

    exit_code = 70


class ConfigError(ToolkitError):
    """The YAML or the command line is wrong: edit it. The text may hold several lines, one per problem.

    Args:
        path: the option that is wrong, such as fit.batch_size, where who raises it does not know the place in the file;
            `RunConfig.placed` then puts the place before it.
    """

    exit_code = 2

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class DataError(ToolkitError):
    """A file of a data set is missing, damaged or contradicts the others: fix the file the text names."""

    exit_code = 3


class CheckpointError(ToolkitError):
    """No checkpoint, or none that passes its own checksums."""

    exit_code = 4


class RunBusyError(ToolkitError):
    """Another process is working in this run folder."""

    exit_code = 5


class NonFiniteError(ToolkitError):
    """A loss or a weight became infinite or NaN; the text names the samples."""

    exit_code = 6


class ResourceError(ToolkitError):
    """Disk, memory, network or a device gave out; nothing that was saved is lost."""

    exit_code = 7


class PluginError(ToolkitError):
    """A plugin breaks the contract: fix or remove the plugin the text names."""

    exit_code = 8


class StoppedError(ToolkitError):
    """A signal asked the run to stop; a resumable checkpoint was saved first."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number

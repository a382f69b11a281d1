"""The one exception that means "the user's input is at fault"."""


class MixditError(ValueError):
    """Bad input: shape, dtype, configuration, file or missing tool.

    The message is one line that names the thing, shows the value and says what to do. The command
    line prints it and exits with status 2.
    """

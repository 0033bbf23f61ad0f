"""What the people who run a verb, or call the package, are told in one line; anything else that is raised is a bug."""


class UserError(ValueError):
    """What they can mend: an option, a file, something that is not installed. Says what happened and what to do.

    A verb prints it after `error:` and ends with its `exit_code`. Other ValueErrors are bugs, and end in a traceback.
    """

    exit_code = 2


class Failed(UserError):
    """The work itself came to no good end: no memory, numbers that are not finite, a result that differs too much."""

    exit_code = 1

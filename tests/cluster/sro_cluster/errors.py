"""The one error of this tool."""


class ClusterError(Exception):
    """Something the tool needs is missing, or a part of the cluster failed; the message is one line for the user."""

"""A script is tried on copies before anything is claimed for it."""

from recovery.rehearse.run import rehearse

__all__ = ["rehearse"]

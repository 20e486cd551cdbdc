"""Runs that are killed, and disks that fail: what is left is whole, and goes on to the very same numbers.

``python -m refwfm.validation.crash --runs 500`` kills short runs over Gaussians and over clouds with SIGKILL
at random moments, and makes calls of the system that write fail or end it, with EIO, ENOSPC, EINTR, SIGKILL.
"""

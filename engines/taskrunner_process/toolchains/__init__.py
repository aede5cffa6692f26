"""Toolchains that a checkout asks for by a file, such as `.xcode-version`, and their installation in the background."""

from taskrunner_process.toolchains.toolchains import Toolchains as Toolchains

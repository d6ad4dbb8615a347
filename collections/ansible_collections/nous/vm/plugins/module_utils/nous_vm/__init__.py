# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a host of nous.vm when Ansible is gone: one package in Python's standard library, behind one command, nous-vm.

A role installs the modules of this folder (the core) and the subpackages that are its own. A subpackage brings its subcommands in commands/, a module each,
and the rows of the health check in check.py; the core finds what is there and knows no role.

This package is private to the collection: other code must not import it.
"""

VERSION = "1.0.0"  # of the collection

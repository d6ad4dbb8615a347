# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients of the server: whom a person let in, and by which enrolment.

The server issues a code to everybody who asks, and a registration may replace the client that was there. So the gateway denies both, and this lets one client
in at a time: enrolment registers it and opens a window, in which the browser of one person may use /authorize; gatekeeper judges the requests of that window,
authorizer serves them; registrar takes one registration of a client that cannot be given an ID. server: the server by its socket. files, state: its files.
record: who was let in. revocation: who is not any more. check: the rows of the health check.
"""

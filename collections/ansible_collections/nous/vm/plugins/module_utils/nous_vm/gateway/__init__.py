# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway: Caddy in front of the server, which lets an allow list of networks in and denies everybody else all but a few public paths.

configuration: its files. admin: what Caddy serves. estate: what a Caddyfile with other sites lacks. reload, apply: a change, verified, or rolled back.
repair: a Caddyfile that a package replaced. confirmation: by whom it was reached. probe: what it answers. denials, counted: who was denied. allowed, lists: who
is allowed for a time, and how old the vendor's list is. fetched, fetched_list, https: a list of the operator's own. check: the rows of the health check.
"""

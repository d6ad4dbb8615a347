# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx's configuration of the documentation site. build.py copies it beside the pages that it collects."""

project = "nous.vm"
author = "nous.vm authors"
copyright = "2026, nous.vm authors"
html_title = "nous.vm"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
root_doc = "index"
highlight_language = "text"
pygments_style = "friendly"
pygments_dark_style = "monokai"
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
# A page of a role has its title in the README's style, so it may begin deeper; a reference that leads nowhere is still an error.
suppress_warnings = ["myst.header"]
nitpicky = True
# What antsibull-docs refers to in Ansible's own site, which is not asked for it.
nitpick_ignore_regex = [("any|ansopt|ansretval|ansplugin|std:.*|ansval", ".*")]

html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_use_index = False
html_theme_options = {"navigation_with_keys": True, "light_css_variables": {}, "dark_css_variables": {}}
html_static_path = ["_static"]
html_css_files = ["site.css"]

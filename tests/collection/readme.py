"""Write every role's README.md from its argument spec, and docs.md where the role has one.

readme.py           write them
readme.py --check   exit 1 and name those that are out of date
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parents[2] / "collections/ansible_collections/nous/vm/roles"
MARKUP = {
    r"[COVEB]\(([^)]*)\)": r"`\1`",
    r"I\(([^)]*)\)": r"*\1*",
    r"L\(([^,)]*), ?([^)]*)\)": r"[\1](\2)",
    r"U\(([^)]*)\)": r"<\1>",
    r"[PM]\(([^)#]*)(#\w+)?\)": r"`\1`",
}


def plain(text: str) -> str:
    """Turn Ansible's documentation markup into Markdown."""
    for pattern, replacement in MARKUP.items():
        text = re.sub(pattern, replacement, text)
    return text


def sentences(value: str | list[str]) -> list[str]:
    """Return a description as a list of paragraphs."""
    return [plain(part) for part in ([value] if isinstance(value, str) else value)]


def shown(value: Any) -> str:
    """Return a default as a person would write it in an inventory."""
    return yaml.safe_dump(value, default_flow_style=True, width=200).strip().removesuffix("...").strip()


def table(options: dict[str, Any]) -> list[str]:
    """Return the options as a Markdown table."""
    lines = ["| variable | type | default | what it is |", "|---|---|---|---|"]
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        default = "**required**" if option.get("required") else f"`{shown(option['default'])}`" if "default" in option else ""
        words = " ".join(sentences(option["description"]))
        if "choices" in option:
            words += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        cells = [f"`{name}`", kind, default, words]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def readme(role: Path) -> str:
    """Return the README of a role."""
    spec = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]
    lines = [f"# nous.vm.{role.name}", "", plain(spec["short_description"]) + ".", ""]
    for paragraph in sentences(spec["description"]):
        lines += [paragraph, ""]
    docs = role / "docs.md"
    if docs.exists():  # the operator's page: install, daily commands, what to do when a row is red
        lines += [docs.read_text(encoding="utf-8").strip(), ""]
    lines += ["## Variables", "", *table(spec["options"]), ""]
    for name, option in spec["options"].items():
        if "options" in option:
            lines += [f"### Keys of `{name}`", "", *table(option["options"]), ""]
    lines += ["<!-- Made by tests/collection/readme.py from meta/argument_specs.yml and docs.md. -->", ""]
    return "\n".join(lines)


def main() -> int:
    """Write or compare."""
    stale = []
    for spec in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        role = spec.parents[1]
        path, text = role / "README.md", readme(role)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(role.name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"out of date: README.md of {', '.join(stale)}; run tests/collection/readme.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

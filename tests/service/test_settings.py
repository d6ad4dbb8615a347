"""Settings reach the server as they were written, whatever is in them, and nobody else. (What is refused: molecule/nous_service.)"""

from __future__ import annotations

import base64

from host import Host, only_on

NASTY = "a 'b' \"c\" $HOME ${HOME} `id` 100% %n \\n \\ # ; = é 猫\n second line\t\n"


def environment(host: Host) -> dict[str, str]:
    pid = host.show("MainPID")
    text = base64.b64decode(host.sh(f"base64 --wrap=0 /proc/{pid}/environ")).decode()
    return dict(each.split("=", 1) for each in text.split("\0") if each)


@only_on("debian-testing", "two runs of the site")
def test_any_value(host: Host) -> None:
    url = f"sqlite:////var/lib/nous/state.db?note={NASTY}"
    wished = {"nous_service_settings": {"NOUS_POLICY_ALLOW": NASTY, "NOUS_POLICY_DENY": ""}, "nous_service_secrets": {"NOUS_DB_URL": url}}
    run = host.play(**wished)
    assert run.returncode == 0, run.stdout[-4000:]
    seen = environment(host)
    assert seen["NOUS_POLICY_ALLOW"] == NASTY
    assert seen["NOUS_POLICY_DENY"] == ""
    assert seen["NOUS_DB_URL"] == url
    assert "NOUS_DB_URL" not in host.sh("cat /etc/nous/nous.env")
    assert url.splitlines()[0] not in run.stdout + host.sh("journalctl --boot --output=cat --quiet | grep -v '^ '", check=False)
    assert host.sh("stat -c '%a %U:%G' /etc/nous/secrets.env") == "600 root:root"
    started = host.show("ActiveEnterTimestamp")
    again = host.play(**wished)
    assert "changed=0 " in again.stdout, again.stdout[-4000:]
    assert host.show("ActiveEnterTimestamp") == started, "a setting that did not change restarted the server"

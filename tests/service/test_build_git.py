"""nous-vm build from git: over each of its ways, with what root lends of its keys and passwords, and by signature."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from builds import FOLDER, ROOT, STORE, Builder, pack, rejected
from host import only_full, rest

GIT = "git -c user.name=test -c user.email=test@nous.invalid -c init.defaultBranch=main"


@pytest.fixture(scope="module")
def commit(made: Builder, locked: dict[str, bytes]) -> str:
    """A repository with a tag, a commit after it that is returned, and another branch; also behind a server that gives whole histories only."""
    made.sh(f"rm -rf /srv/work /srv/index/nous.git; mkdir -p /srv/work && cd /srv/work && {GIT} init -q && tar -xz --strip-components=1", stdin=pack(locked))
    made.sh(f"cd /srv/work && git add . && {GIT} commit -qm one && git tag v1.0 && echo PART = 2 > src/nous/part.py && {GIT} commit -qam two")
    made.sh(f"cd /srv/work && git branch other && echo PART = 3 > src/nous/part.py && {GIT} commit -qam three")
    made.sh("git clone -q --bare /srv/work /srv/index/nous.git && cd /srv/index/nous.git && git update-server-info")
    return made.sh("git -C /srv/work rev-parse other")


ALONE, WHOLE = "file:///srv/work", "http://127.0.0.1:8000/nous.git"


@pytest.mark.parametrize(
    ("url", "ref", "part"),
    [
        (ALONE, "v1.0", 1),
        (WHOLE, "COMMIT", 2),
        *rest((ALONE, "COMMIT", 2), (ALONE, "ABBREVIATED", 2), (ALONE, "other", 2), (WHOLE, "v1.0", 1), (WHOLE, "main", 3)),
    ],
)
def test_git(builder: Builder, commit: str, url: str, ref: str, part: int) -> None:
    ref = {"COMMIT": commit, "ABBREVIATED": commit[:9]}.get(ref, ref)
    assert builder.build(kind="git", url=url, ref=ref)["changed"]
    assert builder.seen("__import__('nous.part').part.PART, dep.VERSION") == f"{part} 1.0"
    assert builder.about()["commit"] == builder.sh(f"git -C /srv/work rev-parse {ref}^{{commit}}")
    assert builder.sh(f"ls -A {FOLDER}").split() == ["release.json", "sbom.json", "source", "venv"]
    assert builder.sh(f"find {FOLDER} -name .git") == ""
    builder.assert_sound()


@only_full("rare")
def test_git_with_a_submodule(builder: Builder, commit: str) -> None:
    script = f"""
        rm -rf /srv/with /srv/index/with.git; {GIT} clone -q /srv/work /srv/with; cd /srv/with; {GIT} submodule --quiet add http://127.0.0.1:8000/nous.git part
        {GIT} commit -qm four; git clone -q --bare /srv/with /srv/index/with.git; cd /srv/index/with.git; git update-server-info"""
    builder.sh(script)
    builder.build(kind="git", url="http://127.0.0.1:8000/with.git", ref="main")
    assert builder.sh(f"cat {FOLDER}/source/part/src/nous/part.py") == "PART = 3"


@pytest.mark.parametrize(
    ("url", "ref", "words"),
    [
        (WHOLE, "v9", "v9"),
        *rest(
            (ALONE, "v9", "v9"),
            (ALONE, "0" * 40, "not our ref 0000"),
            ("file:///no/such.git", "v1.0", "/no/such.git"),
            ("https://127.0.0.1:9/nous.git", "v1.0", "127.0.0.1:9"),
        ),
    ],
)
def test_git_that_has_it_not(builder: Builder, commit: str, url: str, ref: str, words: str) -> None:
    rejected(builder, "Fetch the source from git", f"fatal: .*{words}", kind="git", url=url, ref=ref)


SIGN = f"""
rm -rf /srv/signed /root/signers; mkdir -m 700 /root/signers
for who in one two; do ssh-keygen -q -t ed25519 -N '' -C $who -f /root/signers/$who; done
git clone -q /srv/work /srv/signed; cd /srv/signed
for who in one two; do
  git checkout -q -b $who v1.0; {GIT} -c gpg.format=ssh -c user.signingkey=/root/signers/$who commit -q -S --allow-empty -m "signed by $who"
done
git checkout -q main; {GIT} -c gpg.format=ssh -c user.signingkey=/root/signers/one tag -s -m tagged v2.0
"""


@pytest.fixture(scope="module")
def signers(made: Builder, commit: str) -> list[str]:
    """A repository with commits that two people signed, and a tag; return who may sign: the first."""
    made.sh(SIGN)
    key = made.sh("cut -d' ' -f1-2 /root/signers/one.pub")
    return [f"one@example.org {key}"]


@pytest.mark.parametrize("ref", ["one", *rest("v2.0")])
def test_what_a_signer_signed_is_built(builder: Builder, signers: list[str], ref: str) -> None:
    """A commit, or the tag that names it."""
    assert builder.build(kind="git", url="file:///srv/signed", ref=ref, signers=signers)["changed"]
    assert builder.about()["signer"] == "one@example.org"


@pytest.mark.parametrize(("ref", "words"), [("two", "has the signature of another"), *rest(("main", "has no signature"), ("v1.0", "has no signature"))])
def test_what_no_signer_signed_is_rejected(builder: Builder, signers: list[str], ref: str, words: str) -> None:
    words = f"none of nous_service_git_signers signed it: the commit .* {words}"
    rejected(builder, "Fetch the source from git", words, kind="git", url="file:///srv/signed", ref=ref, signers=signers)


SSH = "ssh://root@127.0.0.1/srv/work"
KEYS = """
rm -f /root/.ssh/*; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519; cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
echo "127.0.0.1 $(cut -d' ' -f1-2 /etc/ssh/ssh_host_ed25519_key.pub)" > /root/.ssh/known_hosts
"""


@pytest.mark.parametrize(
    ("lost", "words"),
    [("known_hosts", "Host key verification failed"), *rest(("id_ed25519", "Permission denied"))],
)
def test_git_over_ssh(builder: Builder, commit: str, lost: str, words: str) -> None:
    """With root's key, to a host whose key root knows; the account that fetches has neither of its own."""
    builder.sh(KEYS)
    try:
        assert builder.build(kind="git", url=SSH, ref="v1.0")["changed"]
        builder.sh(f"rm -rf {FOLDER} /root/.ssh/{lost}")
        rejected(builder, "Fetch the source from git", words, kind="git", url=SSH, ref="v1.0")
    finally:
        builder.sh("rm -f /root/.ssh/*")


PRIVATE = """
import base64, functools, http.server, ssl
class Private(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization") == "Basic " + base64.b64encode(b"me:canary-4711").decode():
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Basic realm=private")
        self.send_header("Content-Length", "0")
        self.end_headers()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), functools.partial(Private, directory="/srv/index"))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/private.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
CERTIFICATE = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
  -keyout /srv/private.key -out /usr/local/share/ca-certificates/private.crt 2> /dev/null
cat /srv/private.key /usr/local/share/ca-certificates/private.crt > /srv/private.pem; update-ca-certificates > /dev/null 2>&1
systemd-run --quiet --unit=private python3 /srv/private.py
timeout 30 bash -c 'until : < /dev/tcp/127.0.0.1/8443; do sleep 0.1; done' 2> /dev/null
"""


@pytest.fixture(scope="module")
def private(made: Builder, commit: str) -> Iterator[str]:
    """The repository behind TLS and a password."""
    made.put("/srv/private.py", PRIVATE.encode())
    made.sh(CERTIFICATE)
    yield "https://127.0.0.1:8443/nous.git"
    made.sh("systemctl stop private; rm /usr/local/share/ca-certificates/private.crt; update-ca-certificates --fresh > /dev/null 2>&1")


@pytest.mark.parametrize(
    ("file", "line"),
    [(".git-credentials", "https://me:canary-4711@127.0.0.1:8443"), *rest((".netrc", "machine 127.0.0.1 login me password canary-4711"))],
)
def test_git_behind_a_password(builder: Builder, private: str, file: str, line: str) -> None:
    """With root's, which is lent for the fetch and stays nowhere."""
    builder.put(f"/root/{file}", f"{line}\n".encode())
    builder.sh(f"chmod 600 /root/{file}")
    try:
        assert builder.build(kind="git", url=private, ref="v1.0")["changed"]
    finally:
        builder.sh(f"rm /root/{file}")
    assert builder.sh(f"grep -rl canary-4711 {ROOT} {STORE} || true; journalctl --boot | grep canary-4711 | grep -v 'run/systemd' || true") == ""
    builder.sh(f"rm -rf {FOLDER}")
    rejected(builder, "Fetch the source from git", "could not read Username", kind="git", url=private, ref="v1.0")

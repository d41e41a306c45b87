"""What the documentation tells people to type exists and takes what it is given, and its SQL runs.

Blocks by the word behind their fence: ``console`` are commands, ``sql`` is run, ``python`` compiles and names what
there is, ``nginx`` is given to nginx where there is one. (quickstart.md is followed to the letter by the browser tests,
websocket.md by those of the sockets.)
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlparse
import uvicorn
import yaml
from django.contrib.auth.models import AbstractUser
from django.core.management import get_commands, load_command_class
from django.db import connection
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from chat import conf
from chat.models import StreamEvents
from tests.factories import TurnFactory

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLLOWED = "quickstart.md"
COMPOSE = ROOT / "docker" / "compose.yaml"


def blocks(language: str) -> list[tuple[str, str]]:
    """Every block of this language with the page it stands on."""
    fence = re.compile(rf"^ *```{language}\b[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    return [(page.name, text) for page in PAGES if page.name != FOLLOWED for text in fence.findall(page.read_text())]


def commands() -> Iterator[tuple[str, str]]:
    for page, text in blocks("console"):
        yield from ((page, line) for line in text.splitlines() if line.strip())
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for service in services.values():
        if "command" in service:
            yield COMPOSE.name, shlex.join(service["command"])
    image = (ROOT / "docker" / "Dockerfile").read_text()
    for words in re.findall(r"^CMD (\[.*\])$", image, re.MULTILINE):
        yield "Dockerfile", shlex.join(ast.literal_eval(words))


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_a_command_exists_and_takes_what_it_is_given(page: str, line: str) -> None:
    words = shlex.split(line)
    match words:
        case ["python", "manage.py", name, *given]:
            manage(name, given)
        case ["python", "-m", "uvicorn", *given]:
            uvicorn.main.make_context("uvicorn", given)
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module), module
        case ["make", target, *_]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
        case ["docker", "compose", "-f", file, *_]:
            assert (ROOT / file) == COMPOSE
        case ["cp", example, copy]:
            assert (ROOT / example).is_file()
            assert (ROOT / copy).parent.is_dir()
        case ["pg_dump", *given]:
            if shutil.which("pg_dump") is None:
                pytest.skip("there is no pg_dump")
            known = subprocess.run(["pg_dump", "--help"], capture_output=True, check=True, text=True).stdout
            assert all(option.split("=")[0] in known for option in given if option.startswith("--"))
        case ["pip", "install", "/path/to/this/repository"]:
            pass  # the tests of the quickstart and of the host project do
        case _:
            pytest.fail(f"{page} has a command that no test knows: {line}")


def manage(name: str, given: list[str]) -> None:
    command = load_command_class(get_commands()[name], name)
    command.create_parser("manage.py", name).parse_args(given)


def test_every_command_that_is_spoken_of_exists() -> None:
    spoken = {(page.name, name) for page in PAGES for name in re.findall(r"manage\.py (\w+)", page.read_text())}
    assert len(spoken) > 20
    assert not {(page, name) for page, name in spoken if name not in get_commands()}


def test_every_setting_that_is_spoken_of_exists() -> None:
    names = {"CHAT_POSTGRES_BIN"}  # of the embedded PostgreSQL's environment
    for page in PAGES:
        spoken = set(re.findall(r"\bCHAT_([A-Z_]+[A-Z])\b(?!_)", page.read_text()))
        assert spoken <= set(conf.DEFAULTS) | names, page.name


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_compiles_and_imports_what_there_is(page: str, text: str) -> None:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("chat", "django")):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, one.name) for one in node.names), ast.unparse(node)


@pytest.mark.django_db
def test_the_log_in_partitions_holds_what_it_held(user: AbstractUser) -> None:
    turn, other = TurnFactory.create(), TurnFactory.create()
    for one in (turn, other):
        StreamEvents.objects.create(turn=one, first_seq=1, last_seq=2, chunks='{"type":"start"}\n{"type":"finish"}')
    (statements,) = (text for page, text in blocks("sql") if page == "deployment.md")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for statement in sqlparse.split(statements):  # one at a time, as prepared statements want it
            cursor.execute(statement)
        other.delete()
        cursor.execute("SELECT turn_id, tableoid::regclass::text LIKE 'chat_stream_events__' FROM chat_stream_events")
        assert cursor.fetchall() == [(turn.pk, True)]
    assert StreamEvents.objects.filter(turn=turn).count() == 1


def test_what_is_uploaded_lies_where_the_container_may_write_and_in_a_volume() -> None:
    image = (ROOT / "docker" / "Dockerfile").read_text()
    (folder,) = re.findall(r"\bDATA_DIR=(\S+)", image)
    assert f"mkdir {folder} && chown chat: {folder}\n" in image.partition("USER chat")[0]
    asked = "from chatproject import settings; print(settings.MEDIA_ROOT)"
    given = {"DEBUG": "1", "DATABASE_URL": "postgresql:///none", "DATA_DIR": folder, "PATH": os.environ["PATH"]}
    told = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, env=given, stdout=subprocess.PIPE, check=True)
    assert Path(told.stdout.decode().strip()).is_relative_to(folder)
    compose = yaml.safe_load(COMPOSE.read_text())
    built = {name: service for name, service in compose["services"].items() if "build" in service}
    assert {"web", "worker"} <= set(built)
    for name, service in built.items():
        kept = [volume.split(":")[0] for volume in service["volumes"] if volume.split(":")[1] == folder]
        assert kept, name
        assert set(kept) <= set(compose["volumes"])


async def test_the_container_counts_a_stranger_by_the_address_that_the_proxy_in_front_tells() -> None:
    web = yaml.safe_load(COMPOSE.read_text())["services"]["web"]
    assert all(port.startswith("127.0.0.1:") for port in web["ports"]), "others than the proxy come from that network"
    default = web["environment"]["FORWARDED_ALLOW_IPS"].removeprefix("${FORWARDED_ALLOW_IPS:-").removesuffix("}")
    seen: list[Any] = []

    async def application(scope: Any, *ends: Any) -> None:
        seen.append(scope["client"][0])

    trusting = ProxyHeadersMiddleware(application, default)
    for address in ("172.18.0.1", "192.168.16.1", "203.0.113.1"):  # two of Docker's gateways, and a stranger
        scope: Any = {"type": "http", "client": (address, 1), "headers": [(b"x-forwarded-for", b"203.0.113.9")]}
        await trusting(scope, None, None)  # type: ignore[arg-type]
    assert seen == ["203.0.113.9", "203.0.113.9", "203.0.113.1"]


def test_the_example_of_an_environment_names_all_that_the_settings_read() -> None:
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (ROOT / "chatproject" / "settings.py").read_text()))
    named = set(re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / "docker" / ".env.example").read_text(), re.MULTILINE))
    assert len(read) > 15
    assert read <= named
    assert {name.removeprefix("CHAT_") for name in named if name.startswith("CHAT_")} <= set(conf.DEFAULTS)


def test_nginx_takes_its_lines(tmp_path: Path) -> None:
    nginx = shutil.which("nginx") or pytest.skip("there is no nginx")
    ((_, text),) = blocks("nginx")
    file = tmp_path / "nginx.conf"
    paths = "".join(f"{kind}_temp_path {tmp_path};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    file.write_text(f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; {paths} {text} }}")
    done = subprocess.run([nginx, "-t", "-c", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

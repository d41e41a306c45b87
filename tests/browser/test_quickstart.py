"""docs/quickstart.md, followed to the letter in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.async_api import Browser, expect

from chat.testing.servers import Server, free_port
from chatproject import embedded_postgres
from tests.acceptance.server import ROOT
from tests.browser.conftest import Complaints
from tests.browser.site import EXAMPLE, installed, until_up
from tests.conftest import needed

BLOCK = re.compile(r"^```(\w+)\n(?:(?:#|//) (\S+\.\w+)( \(at the end\))?\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)
PASSWORD = "opensesame-17"

pytestmark = pytest.mark.timeout(300)


class Follower:
    """Does what the document says, with three differences: it needs not download what is here already (``PIP_NO_DEPS``
    with this environment behind the new one, and the example's node_modules), it is not asked for a password, and its
    servers get free ports.
    """

    def __init__(self, folder: Path, database: Server) -> None:
        self.folder = folder
        self._dsn = psycopg.conninfo.conninfo_to_dict(embedded_postgres.dsn(database.folder / "data" / "postgres"))
        with psycopg.connect(**self._dsn, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS mysite WITH (FORCE)")
            connection.execute("CREATE DATABASE mysite")
        self.port, self.front_port = free_port(), free_port()
        self.started: list[subprocess.Popen[bytes]] = []

    @property
    def environment(self) -> dict[str, str]:
        ours = Path(sys.executable).parent
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "CHAT_", "DATABASE"))
        }
        return kept | {
            "PATH": f"{self.folder / '.venv' / 'bin'}:{ours}:{os.environ['PATH']}",
            "PYTHONPATH": sysconfig.get_path("purelib"),
            "PIP_NO_DEPS": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PGHOST": str(self._dsn["host"]),
            "PGUSER": str(self._dsn["user"]),
            "PGPORT": str(self._dsn.get("port") or 5432),
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            "DJANGO_URL": f"http://127.0.0.1:{self.port}",
        }

    def follow(self) -> None:
        for language, name, appended, text in BLOCK.findall((ROOT / "docs" / "quickstart.md").read_text()):
            if language == "console":
                for line in text.splitlines():
                    self._run(line)
            else:
                file = self.folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text((file.read_text() if appended else "") + text)

    def _run(self, line: str) -> None:
        if line.startswith(". "):
            return  # what it does for a shell is in the environment
        if line.startswith(("npm ", "cd ")):
            self._front()
        elif "uvicorn" in line:
            self._start([*self._shell(f"{line} --port {self.port}")], self.folder)
        else:
            line = line.replace("/path/to/this/repository", str(self._repository()))
            line += " --noinput" if "createsuperuser" in line else ""
            done = subprocess.run(
                self._shell(line), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"

    def _repository(self) -> Path:
        """A copy of what is installed: a build leaves its own things in the folder."""
        copy = self.folder / "repository"
        if not copy.is_dir():
            shutil.copytree(ROOT / "chat", copy / "chat", ignore=shutil.ignore_patterns("__pycache__"))
            for file in ("pyproject.toml", "README.md"):
                shutil.copy(ROOT / file, copy)
        return copy

    def _shell(self, line: str) -> list[str]:
        return ["bash", "-c", f"exec {line}"]

    def _front(self) -> None:
        """What `npm create vite` makes of a template, as far as this page needs it."""
        front = self.folder / "front"
        if front.is_dir():
            return
        (front / "src").mkdir(parents=True)
        (front / "node_modules").symlink_to(EXAMPLE / "node_modules")
        (front / "index.html").write_text(
            '<link rel="icon" href="data:,"><div id="root"></div><script type="module" src="/src/main.tsx"></script>'
        )
        (front / "src" / "main.tsx").write_text(
            'import { createRoot } from "react-dom/client";\nimport App from "./App";\n'
            'createRoot(document.getElementById("root")!).render(<App />);\n'
        )

    def serve_front(self) -> str:
        vite = str(EXAMPLE / "node_modules" / "vite" / "bin" / "vite.js")
        node = needed("node", "Vite runs in it")
        front = self.folder / "front"
        self._start([node, vite, "--host", "127.0.0.1", "--port", str(self.front_port), "--strictPort"], front)
        return until_up(f"http://127.0.0.1:{self.front_port}", self.started[-1])

    def _start(self, command: list[str], folder: Path) -> None:
        self.started.append(subprocess.Popen(command, cwd=folder, env=self.environment, stdout=subprocess.DEVNULL))

    def stop(self) -> None:
        for process in reversed(self.started):
            process.terminate()
            process.wait(20)


@pytest.fixture
def follower(tmp_path: Path, server: Server) -> Iterator[Follower]:
    follower = Follower(tmp_path, server)
    try:
        yield follower
    finally:
        follower.stop()


async def test_the_quickstart_leads_to_use_chat_talking_to_an_agent_of_ten_lines(
    follower: Follower, browser: Browser, complaints: Complaints
) -> None:
    installed(EXAMPLE)
    follower.follow()
    django = until_up(f"http://127.0.0.1:{follower.port}/healthz", follower.started[0]).removesuffix("/healthz")
    front = follower.serve_front()
    context = await browser.new_context()
    page = await context.new_page()
    complaints.listen(page)
    for address in (django, f"{front}/login/"):  # the page that comes with it, then the front end's way in
        await page.goto(address)
        await expect(page.get_by_text("Demo account")).to_have_count(0)  # nobody has made it here
        if await page.get_by_label("Username").is_visible():
            await page.get_by_label("Username").fill("me")
            await page.get_by_label("Password").fill(PASSWORD)
            await page.get_by_role("button", name="Log in").click()
    await page.goto(django)
    await page.get_by_role("textbox", name="Message").fill("Polly wants a cracker")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message-assistant")).to_contain_text("Polly wants a cracker")

    await page.goto(front)
    await page.get_by_label("Message").fill("and a nut")
    await page.keyboard.press("Enter")
    await expect(page.locator("p", has_text="assistant")).to_have_text("assistant and a nut ")
    await context.close()
    with psycopg.connect(**{**follower._dsn, "dbname": "mysite"}) as connection:
        told = connection.execute(
            "SELECT m.role, u.completion_tokens FROM chat_messages m LEFT JOIN token_usage u ON u.message_id = m.id"
            " ORDER BY m.id"
        ).fetchall()
    assert told == [("user", None), ("assistant", 4), ("user", None), ("assistant", 3)]

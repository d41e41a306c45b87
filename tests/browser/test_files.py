"""Files that go with a message: chosen, pasted, dropped; refused; shown again."""

from __future__ import annotations

import base64

from playwright.async_api import FilePayload, expect

from tests.browser.cable import Cable
from tests.browser.conftest import Complaints
from tests.browser.screen import Screen
from tests.browser.stored import history

# A picture of one pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
NOTES = FilePayload(name="notes.txt", mimeType="text/plain", buffer=b"hello")
PICTURE = FilePayload(name="pixel.png", mimeType="image/png", buffer=PIXEL)

# Gives the page a file of one word as a paste or a drop does.
HANDED = """([kind, name]) => {
    const data = new DataTransfer();
    data.items.add(new File(['handed over'], name, {type: 'text/plain'}));
    const target = document.getElementById(kind === 'paste' ? 'message' : 'stage');
    const options = {bubbles: true, cancelable: true, [kind === 'paste' ? 'clipboardData' : 'dataTransfer']: data};
    target.dispatchEvent(new (kind === 'paste' ? ClipboardEvent : DragEvent)(kind, options));
}"""


async def test_files_are_attached_sent_and_shown_again(screen: Screen) -> None:
    page = screen.page
    tray = page.get_by_role("list", name="Files that go with the message")
    async with page.expect_file_chooser() as chooser:
        await page.get_by_role("button", name="Attach files").click()
    await (await chooser.value).set_files([NOTES, PICTURE])
    await page.evaluate(HANDED, ["paste", "pasted.txt"])
    await page.evaluate(HANDED, ["drop", "dropped.txt"])
    await expect(tray.get_by_role("listitem")).to_have_text(["notes.txt", "pixel.png", "pasted.txt", "dropped.txt"])
    await expect(tray.locator("[data-uploading]")).to_have_count(0)
    await page.reload()  # they are part of the draft
    await tray.get_by_role("button", name="Remove dropped.txt").click()
    await expect(tray.get_by_role("listitem")).to_have_count(3)
    await expect(screen.box).to_be_focused()
    await screen.ask("What is in them?")
    await expect(tray).to_be_hidden()
    for _ in range(2):
        files = screen.questions.first.locator(".files")
        await expect(files.locator(".file")).to_have_text(["notes.txt", "pasted.txt"])
        picture = files.get_by_role("img", name="pixel.png")
        await expect(picture).to_be_visible()
        assert await picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") == 1
        await screen.reload()
    sent = (await history(screen))[0]["parts"]
    assert [part.get("filename", part.get("text")) for part in sent] == [
        "What is in them?",
        "notes.txt",
        "pixel.png",
        "pasted.txt",
    ]
    assert await (await page.request.get(f"{screen.url}{sent[1]['url']}")).text() == "hello"


async def test_a_file_that_is_not_taken_is_told_and_what_was_typed_stays(
    wired: Screen, cable: Cable, complaints: Complaints
) -> None:
    complaints.expect("415|net::ERR_|Failed to load resource|WebSocket connection to")
    page, picker = wired.page, wired.page.locator("#files")
    await wired.box.fill("keep this")
    await picker.set_input_files(FilePayload(name="program", mimeType="text/plain", buffer=b"\x7fELF\x00\x01"))
    await expect(page.get_by_role("alert")).to_contain_text("program is not attached.")
    large = "(name) => Object.defineProperty(new File(['x'], name), 'size', {value: 21 * 1024 * 1024})"
    await page.evaluate(
        f"""() => {{
            const data = {{types: ['Files'], files: [({large})('film.mov')]}};
            const drop = new Event('drop', {{bubbles: true, cancelable: true}});
            document.getElementById('stage').dispatchEvent(Object.assign(drop, {{dataTransfer: data}}));
        }}"""
    )
    await expect(page.get_by_role("alert")).to_have_text("film.mov is larger than 20 MB.")
    await cable.cut()
    await picker.set_input_files(NOTES)
    await expect(page.get_by_role("alert")).to_have_text("notes.txt is not attached. The server cannot be reached.")
    await expect(page.locator("#tray")).to_be_hidden()
    await expect(wired.box).to_have_value("keep this")


async def test_a_message_that_did_not_get_through_keeps_its_files(
    wired: Screen, cable: Cable, complaints: Complaints
) -> None:
    complaints.expect("net::ERR_|Failed to load resource|WebSocket connection to")
    await wired.page.locator("#files").set_input_files(NOTES)
    send = wired.page.get_by_role("button", name="Send")
    await expect(send).to_be_enabled()
    await cable.cut()
    await send.click()  # a file without a word
    await expect(wired.questions).to_contain_text("Not sent.")
    await cable.mend()
    await wired.page.get_by_role("button", name="Try again").click()
    await wired.ended(wired.answers.first)
    await expect(wired.questions.locator(".file")).to_have_text(["notes.txt"])

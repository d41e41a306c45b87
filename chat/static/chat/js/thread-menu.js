// What can be done with a thread of the list: rename, archive, export, delete and take it back.

import * as api from "./api.js";
import { titleOf } from "./thread-list.js";

const UNDO = 8000; // milliseconds for which a deletion is offered to be taken back

export class ThreadMenu {
  #menu = document.getElementById("thread-menu");
  #dialog = document.getElementById("rename");
  #title = document.getElementById("rename-title");
  #toast = document.getElementById("toast");
  #list;
  #on;
  #thread = null; // whose menu, or dialog, is open or was last
  #deleted = null; // what the toast offers to take back
  #opener = null;
  #undoing = 0;

  // `on`: {renamed(thread), gone(threadId)}
  constructor(list, on) {
    this.#list = list;
    this.#on = on;
    document.getElementById("threads").addEventListener("click", (event) => {
      const opener = event.target.closest(".thread-more");
      if (opener) this.#open(opener);
    });
    this.#menu.addEventListener("click", (event) => {
      const { choice } = event.target.closest("[data-choice]")?.dataset ?? {};
      if (choice) this.#choose(choice);
    });
    this.#menu.addEventListener("keydown", (event) => this.#move(event));
    this.#menu.addEventListener("toggle", (event) => {
      if (event.newState === "closed" && this.#menu.contains(document.activeElement)) this.#opener?.focus();
    });
    this.#dialog.addEventListener("close", () => this.#dialog.returnValue === "save" && this.#rename());
    this.#toast.querySelector("button").addEventListener("click", () => this.#undo());
  }

  #open(opener) {
    this.#opener = opener;
    this.#thread = this.#list.find(opener.dataset.thread);
    this.#menu.querySelector('[data-choice="archive"] span').textContent = this.#thread.archived_at
      ? "Take out of the archive"
      : "Archive";
    for (const link of this.#menu.querySelectorAll("a")) link.href = api.exportUrl(this.#thread.id, link.dataset.format);
    this.#menu.showPopover();
    const { bottom, top, right } = opener.getBoundingClientRect();
    const { width, height } = this.#menu.getBoundingClientRect();
    const isRoom = bottom + height + 8 < innerHeight;
    this.#menu.style.top = `${isRoom ? bottom + 4 : Math.max(8, top - height - 4)}px`;
    this.#menu.style.left = `${Math.max(8, Math.min(right - 28, innerWidth - width - 8))}px`;
    this.#menu.querySelector("[role=menuitem]").focus();
  }

  #move(event) {
    const items = [...this.#menu.querySelectorAll("[role=menuitem]")];
    const place = items.indexOf(document.activeElement);
    const next = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: -1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    items.at(next % items.length).focus();
  }

  async #choose(choice) {
    this.#menu.hidePopover();
    if (choice === "rename") {
      this.#title.value = titleOf(this.#thread);
      this.#dialog.showModal();
      this.#title.select();
    }
    if (choice === "archive") await this.#attempt(() => this.#archive());
    if (choice === "delete") await this.#attempt(() => this.#delete());
  }

  async #rename() {
    const title = this.#title.value.trim();
    if (title && title !== this.#thread.title) await this.#attempt(() => this.#change({ title }));
  }

  async #archive() {
    const archived = !this.#thread.archived_at;
    await this.#change({ archived });
    this.#tell(archived ? "Archived." : "Taken out of the archive.");
  }

  async #change(change) {
    const thread = await (await api.changeThread(this.#thread.id, change)).json();
    this.#list.put(thread);
    this.#on.renamed(thread);
  }

  async #delete() {
    const thread = this.#thread;
    await api.deleteThread(thread.id);
    this.#list.drop(thread.id);
    this.#on.gone(thread.id);
    this.#tell(`Deleted: ${titleOf(thread)}`, thread);
  }

  async #undo() {
    const thread = this.#deleted;
    this.#tell(null);
    await this.#attempt(async () => {
      await api.restoreThread(thread.id);
      this.#list.put(thread);
      this.#tell("It is back.");
    });
  }

  async #attempt(work) {
    try {
      await work();
    } catch (error) {
      this.#tell(error.message);
    }
  }

  // Says what was done, for a while; `deleted`: a thread that may be taken back.
  #tell(text, deleted = null) {
    clearTimeout(this.#undoing);
    this.#deleted = deleted;
    this.#toast.hidden = text === null;
    this.#toast.querySelector("span").textContent = text ?? "";
    this.#toast.querySelector("button").hidden = !deleted;
    this.#undoing = setTimeout(() => (this.#toast.hidden = true), UNDO);
  }
}

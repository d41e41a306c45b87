// The list of threads at the side, newest activity first.

import * as api from "./api.js";
import { clone } from "./parts.js";

export class ThreadList {
  #list = document.getElementById("threads");
  #note = document.getElementById("threads-note");
  #older = document.getElementById("threads-older");
  #items = new Map(); // thread id -> {thread, item}
  #current = null;

  constructor() {
    this.#older.addEventListener("click", () => this.#loadOlder());
  }

  // Reads the newest threads again, and leaves older ones that were loaded where they are.
  async refresh() {
    try {
      const page = await api.threads();
      page.results.forEach((thread, index) => this.#place(thread, index));
      if (this.#items.size === page.results.length) this.#setOlder(page.next);
      this.#tell(this.#items.size ? "" : "Your threads will be here.");
    } catch (error) {
      this.#tell(error.message);
    }
  }

  select(threadId) {
    this.#current = threadId;
    for (const [id, { item }] of this.#items) this.#mark(id, item);
  }

  titleOf(threadId) {
    const known = this.#items.get(threadId);
    return known && titleOf(known.thread);
  }

  async #loadOlder() {
    this.#older.disabled = true;
    try {
      const page = await api.threads(this.#older.dataset.next);
      const first = this.#items.size;
      page.results.forEach((thread, index) => this.#place(thread, first + index));
      this.#list.children[first]?.querySelector("a").focus();
      this.#setOlder(page.next);
    } catch (error) {
      this.#tell(error.message);
    }
    this.#older.disabled = false;
  }

  #place(thread, index) {
    const item = this.#items.get(thread.id)?.item ?? clone("thread-item");
    this.#items.set(thread.id, { thread, item });
    const link = item.querySelector("a");
    link.href = `${document.body.dataset.home}threads/${thread.id}/`;
    item.querySelector(".thread-title").textContent = titleOf(thread);
    const time = item.querySelector("time");
    time.dateTime = thread.updated_at;
    time.textContent = shortTime(new Date(thread.updated_at));
    this.#mark(thread.id, item);
    // Moving an item takes the focus from it: only where it has to.
    const there = this.#list.children[index] ?? null;
    if (there !== item) this.#list.insertBefore(item, there);
  }

  #mark(id, item) {
    if (id === this.#current) item.querySelector("a").setAttribute("aria-current", "page");
    else item.querySelector("a").removeAttribute("aria-current");
  }

  #setOlder(next) {
    this.#older.hidden = !next;
    this.#older.dataset.next = next ?? "";
  }

  #tell(text) {
    this.#note.textContent = text;
    this.#note.hidden = !text;
  }
}

export const titleOf = (thread) => thread.title.trim() || "Untitled thread";

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dayAndYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

function shortTime(date) {
  const now = new Date();
  if (date.toDateString() === now.toDateString()) return clock.format(date);
  return (date.getFullYear() === now.getFullYear() ? day : dayAndYear).format(date);
}

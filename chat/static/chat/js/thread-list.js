// The list of threads at the side: newest activity first, by day; or the archived ones.

import * as api from "./api.js";
import { clone } from "./parts.js";

export class ThreadList {
  #list = document.getElementById("threads");
  #note = document.getElementById("threads-note");
  #older = document.getElementById("threads-older");
  #label = document.getElementById("threads-label");
  #switch = document.getElementById("threads-archived");
  #items = new Map(); // thread id -> {thread, item}
  #current = null;
  #archived = false;

  constructor() {
    this.#older.addEventListener("click", () => this.#loadOlder());
    this.#switch.addEventListener("click", () => this.#show(!this.#archived));
  }

  // Reads the newest threads again: what is newer than the last of them and not among them is gone. Older ones that were
  // loaded stay where they are.
  async refresh() {
    const archived = this.#archived;
    try {
      const page = await api.threads(null, archived);
      if (archived !== this.#archived) return;
      const [there, last] = [new Set(page.results.map(({ id }) => id)), page.results.at(-1)];
      for (const [id, { thread }] of [...this.#items]) {
        if (!there.has(id) && (!page.next || thread.updated_at > last.updated_at)) this.#items.delete(id);
      }
      page.results.forEach((thread) => this.#take(thread));
      if (this.#items.size === page.results.length) this.#setOlder(page.next);
      this.#arrange();
      this.#tellWhenEmpty();
    } catch (error) {
      this.#tell(error.message);
    }
  }

  select(threadId) {
    this.#current = threadId;
    for (const [id, { item }] of this.#items) this.#mark(id, item);
  }

  titleOf(threadId) {
    const known = this.find(threadId);
    return known && titleOf(known);
  }

  find(threadId) {
    return this.#items.get(threadId)?.thread;
  }

  // A thread has changed, or is not to be listed here any more.
  put(thread) {
    if (Boolean(thread.archived_at) !== this.#archived) return this.drop(thread.id);
    this.#take(thread);
    return this.#arrange();
  }

  drop(threadId) {
    this.#items.delete(threadId);
    this.#arrange();
    this.#tellWhenEmpty();
  }

  async #show(archived) {
    this.#archived = archived;
    this.#items.clear();
    this.#setOlder(null);
    this.#arrange();
    this.#tell("Loading…");
    this.#label.textContent = archived ? "Archived threads" : "Threads";
    this.#switch.textContent = archived ? "Back to all threads" : "Archived threads";
    await this.refresh();
  }

  async #loadOlder() {
    this.#older.disabled = true;
    try {
      const page = await api.threads(this.#older.dataset.next);
      const links = this.#list.querySelectorAll("a.thread").length;
      page.results.forEach((thread) => this.#take(thread));
      this.#arrange();
      this.#list.querySelectorAll("a.thread")[links]?.focus();
      this.#setOlder(page.next);
    } catch (error) {
      this.#tell(error.message);
    }
    this.#older.disabled = false;
  }

  #take(thread) {
    const item = this.#items.get(thread.id)?.item ?? clone("thread-item");
    this.#items.set(thread.id, { thread, item });
    const link = item.querySelector("a");
    link.href = `${document.body.dataset.home}threads/${thread.id}/`;
    item.querySelector(".thread-title").textContent = titleOf(thread);
    const more = item.querySelector(".thread-more");
    more.dataset.thread = thread.id;
    more.setAttribute("aria-label", `What to do with ${titleOf(thread)}`);
    this.#mark(thread.id, item);
  }

  // Each item at its place, below the day of its last activity. Moving an item takes the focus from it: only where it
  // has to.
  #arrange() {
    const sorted = [...this.#items.values()].sort((a, b) => (a.thread.updated_at < b.thread.updated_at ? 1 : -1));
    const wanted = [];
    let day = null;
    for (const { thread, item } of sorted) {
      if (dayOf(thread) !== day) wanted.push(this.#heading((day = dayOf(thread))));
      wanted.push(item);
    }
    for (const element of [...this.#list.children]) if (!wanted.includes(element)) element.remove();
    wanted.forEach((element, index) => {
      const there = this.#list.children[index] ?? null;
      if (there !== element) this.#list.insertBefore(element, there);
    });
  }

  #heading(day) {
    const known = [...this.#list.querySelectorAll(".thread-day")].find((one) => one.textContent === day);
    if (known) return known;
    const heading = clone("thread-day");
    heading.textContent = day;
    return heading;
  }

  #mark(id, item) {
    if (id === this.#current) item.querySelector("a").setAttribute("aria-current", "page");
    else item.querySelector("a").removeAttribute("aria-current");
  }

  #setOlder(next) {
    this.#older.hidden = !next;
    this.#older.dataset.next = next ?? "";
  }

  #tellWhenEmpty() {
    const empty = this.#archived ? "Nothing is archived." : "Your threads will be here.";
    this.#tell(this.#items.size ? "" : empty);
  }

  #tell(text) {
    this.#note.textContent = text;
    this.#note.hidden = !text;
  }
}

export const titleOf = (thread) => thread.title.trim() || "Untitled thread";

const month = new Intl.DateTimeFormat(undefined, { month: "long" });
const monthAndYear = new Intl.DateTimeFormat(undefined, { month: "long", year: "numeric" });

function dayOf({ updated_at: moment }) {
  const date = new Date(moment);
  const now = new Date();
  const days = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days < 8) return "The last seven days";
  return (date.getFullYear() === now.getFullYear() ? month : monthAndYear).format(date);
}

const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());

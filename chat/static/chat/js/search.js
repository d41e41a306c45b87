// Search over titles and messages. While something is looked for, what was found takes the place of the threads.

import * as api from "./api.js";
import { clone } from "./parts.js";
import { titleOf } from "./thread-list.js";

const PAUSE = 200; // milliseconds after the last key

export class Search {
  #box = document.getElementById("search");
  #hits = document.getElementById("hits");
  #note = document.getElementById("hits-note");
  #sections = document.querySelectorAll("[data-while-searching]");
  #asking = new AbortController();
  #timer = 0;

  constructor() {
    this.#box.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#look(), PAUSE);
    });
    this.#box.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#box.value) return;
      event.stopPropagation();
      this.clear();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "k" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.#box.focus();
    });
    this.#show(false);
  }

  clear() {
    this.#box.value = "";
    this.#look();
  }

  async #look() {
    this.#asking.abort();
    const words = this.#box.value.trim();
    this.#show(words !== "");
    if (!words) return this.#hits.replaceChildren();
    const { signal } = (this.#asking = new AbortController());
    try {
      const { results } = await api.search(words, signal);
      if (!signal.aborted) this.#tell(results);
    } catch (error) {
      if (!signal.aborted) this.#note.textContent = error.message;
    }
    return undefined;
  }

  #tell(results) {
    this.#note.textContent = results.length ? "" : "Nothing was found.";
    this.#hits.replaceChildren(
      ...results.map(({ thread, message, snippet }) => {
        const item = clone("hit");
        item.querySelector("a").href = `${document.body.dataset.home}threads/${thread.id}/`;
        item.querySelector(".hit-title").textContent = titleOf(thread);
        const place = item.querySelector(".hit-snippet");
        place.hidden = !message;
        place.innerHTML = snippet; // the server has escaped all of it but its own marks
        return item;
      }),
    );
  }

  #show(searching) {
    for (const section of this.#sections) section.hidden = (section.dataset.whileSearching === "shown") !== searching;
  }
}

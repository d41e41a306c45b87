// Links that show the open thread, as it is now, to whoever has them: made, copied, listed and revoked.

import * as api from "./api.js";
import { clone } from "./parts.js";

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

export class Share {
  #opener = document.getElementById("open-share");
  #dialog = document.getElementById("share");
  #days = document.getElementById("share-days");
  #made = document.getElementById("share-made");
  #address = document.getElementById("share-address");
  #note = document.getElementById("share-note");
  #list = document.getElementById("shares");
  #thread = null;

  constructor() {
    this.#opener.addEventListener("click", () => this.#open());
    this.#dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#attempt(() => this.#create());
    });
    this.#dialog.querySelector("[data-copy]").addEventListener("click", () => this.#copy());
    this.#dialog.querySelector("[data-close]").addEventListener("click", () => this.#dialog.close());
    this.#address.addEventListener("focus", () => this.#address.setSelectionRange(0, this.#address.value.length, "backward"));
  }

  // The thread that is open; a new one cannot be shared yet.
  set thread(thread) {
    this.#thread = thread;
    this.#opener.hidden = thread === null;
    this.#dialog.close();
  }

  async #open() {
    this.#made.hidden = true;
    this.#say("");
    this.#list.replaceChildren();
    this.#dialog.showModal();
    await this.#attempt(() => this.#show());
  }

  async #show() {
    const thread = this.#thread;
    const shares = await api.shares(thread);
    if (thread !== this.#thread) return;
    const works = ({ revoked_at: revoked, expires_at: end }) => !revoked && (!end || new Date(end) > Date.now());
    this.#list.replaceChildren(...shares.filter(works).map((share) => this.#item(share)));
    if (!this.#list.children.length) this.#list.append(clone("share-none"));
  }

  #item({ id, created_at: begin, expires_at: end }) {
    const item = clone("share-item");
    const [from, until] = [new Date(begin), end && new Date(end)];
    item.querySelector(".share-when").textContent = until ? DAY.formatRange(from, until) : `Since ${DAY.format(from)}`;
    const button = item.querySelector("button");
    button.setAttribute("aria-label", `Revoke the link made ${DAY.format(from)}`);
    button.addEventListener("click", () =>
      this.#attempt(async () => {
        await api.revokeShare(id);
        this.#made.hidden = true; // it may be that one
        this.#say("The link shows nothing any more.");
        this.#dialog.querySelector("[data-close]").focus(); // the button goes
        await this.#show();
      }),
    );
    return item;
  }

  async #create() {
    const { secret } = await api.share(this.#thread, Number(this.#days.value) || null);
    this.#address.value = new URL(`${document.body.dataset.home}shared/${secret}/`, location.href).href;
    this.#made.hidden = false;
    this.#address.focus();
    this.#say("Copy the link now: it is not shown again.");
    await this.#show();
  }

  async #copy() {
    this.#address.focus();
    try {
      await navigator.clipboard.writeText(this.#address.value);
      this.#say("Copied.");
    } catch {
      this.#say("This browser does not let the page copy. The link is selected.");
    }
  }

  #say(text) {
    this.#note.textContent = text;
    this.#note.hidden = !text;
  }

  async #attempt(work) {
    try {
      await work();
    } catch (error) {
      this.#say(error.message);
    }
  }
}

// The files that go with the next message: chosen, pasted or dropped, and uploaded at once.

import * as api from "./api.js";
import { announce } from "./announce.js";
import { clone, sizeOf } from "./parts.js";

export class Tray {
  #list;
  #most; // bytes of the largest file
  #entries = new Map(); // chip -> {part, uploading}; the part is there once the server has the file
  #on;

  // `on`: {changed(), removed(), failed(error)}
  constructor(form, on) {
    this.#list = form.querySelector("#tray");
    this.#most = Number(form.dataset.mostBytes);
    this.#on = on;
    const picker = form.querySelector("#files");
    form.querySelector("#attach").addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      this.add(picker.files);
      picker.value = ""; // the same file may be chosen again
    });
    form.querySelector("#message").addEventListener("paste", ({ clipboardData: pasted }) => {
      // What is copied from a document comes as text, and as a picture of it as well.
      if (!pasted.types.includes("text/plain")) this.add(pasted.files);
    });
    this.#takeDrops(document.getElementById("stage"), form);
  }

  // What is there already, as the parts that name it.
  get files() {
    return [...this.#entries.values()].map(({ part }) => part).filter(Boolean);
  }

  set files(parts) {
    for (const { uploading } of this.#entries.values()) uploading?.abort();
    this.#entries.clear();
    this.#list.replaceChildren();
    this.put(parts);
  }

  // What the server has goes with the message as well.
  put(parts) {
    for (const part of parts) this.#settle(this.#chip(part.filename), part);
    this.#changed();
  }

  get isBusy() {
    return this.files.length < this.#entries.size;
  }

  add(files) {
    for (const file of files) {
      if (file.size <= this.#most) this.#upload(file);
      else this.#on.failed(new Error(`${file.name} is larger than ${sizeOf(this.#most)}.`));
    }
  }

  async #upload(file) {
    const uploading = new AbortController();
    const chip = this.#chip(file.name, uploading);
    this.#changed();
    try {
      const { part } = await api.upload(file, uploading.signal);
      if (uploading.signal.aborted) return;
      this.#settle(chip, part);
      announce(`${file.name} is attached.`);
    } catch (error) {
      if (uploading.signal.aborted) return;
      this.#drop(chip);
      error.message = `${file.name} is not attached. ${error.message}`;
      this.#on.failed(error);
    }
    this.#changed();
  }

  #chip(name, uploading = null) {
    const chip = clone("tray-file");
    this.#entries.set(chip, { part: null, uploading });
    chip.querySelector(".file-name").textContent = name;
    chip.toggleAttribute("data-uploading", uploading !== null);
    const remove = chip.querySelector("button");
    remove.setAttribute("aria-label", `Remove ${name}`);
    remove.addEventListener("click", () => {
      const { part } = this.#entries.get(chip);
      uploading?.abort();
      // Nobody waits for it: what no message names is nobody's but its owner's.
      if (part) api.deleteFile(part.url.split("/").at(-2)).catch(() => {});
      this.#drop(chip);
      this.#changed();
      announce(`${name} is removed.`);
      this.#on.removed();
    });
    this.#list.append(chip);
    return chip;
  }

  #settle(chip, part) {
    this.#entries.get(chip).part = part;
    chip.removeAttribute("data-uploading");
    if (!part.mediaType.startsWith("image/")) return;
    const picture = chip.querySelector("img");
    picture.src = part.url;
    picture.hidden = false;
    chip.querySelector("svg").remove();
  }

  #drop(chip) {
    this.#entries.delete(chip);
    chip.remove();
  }

  #changed() {
    this.#list.hidden = this.#entries.size === 0;
    this.#on.changed();
  }

  #takeDrops(stage, form) {
    const holdsFiles = (event) => event.dataTransfer.types.includes("Files");
    stage.addEventListener("dragover", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      form.dataset.dropping = "";
    });
    stage.addEventListener("dragleave", (event) => {
      if (!stage.contains(event.relatedTarget)) delete form.dataset.dropping;
    });
    stage.addEventListener("drop", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      delete form.dataset.dropping;
      this.add(event.dataTransfer.files);
    });
  }
}

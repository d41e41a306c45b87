// On a narrow screen the list of threads is a drawer over the page.

export class Drawer {
  #sidebar = document.getElementById("sidebar");
  #stage = document.getElementById("stage");
  #opener = document.getElementById("open-drawer");

  constructor() {
    this.#opener.addEventListener("click", () => this.#open());
    document.getElementById("close-drawer").addEventListener("click", () => this.close());
    document.getElementById("backdrop").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      const isInFront = document.querySelector("dialog[open], :popover-open"); // that is what it closes
      if (event.key === "Escape" && !isInFront) this.close();
    });
    // On a wide screen it is no drawer, and nothing may stay out of reach behind it.
    matchMedia("(min-width: 48rem)").addEventListener("change", () => this.close());
  }

  #open() {
    document.body.dataset.drawer = "open";
    this.#opener.setAttribute("aria-expanded", "true");
    this.#stage.inert = true;
    this.#sidebar.querySelector("#close-drawer").focus();
  }

  close() {
    if (document.body.dataset.drawer !== "open") return;
    delete document.body.dataset.drawer;
    this.#opener.setAttribute("aria-expanded", "false");
    this.#stage.inert = false;
    this.#opener.focus();
  }
}

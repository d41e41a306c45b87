// Keeps a growing column at its end, for as long as the reader is there; who scrolls up is left alone.

const CLOSE = 24; // pixels from the end that count as "at the end"

export class Follower {
  #pane;
  #onChange;
  #following = true;
  #last = 0;

  // `onChange(following)` is told when the reader leaves the end or comes back to it.
  constructor(pane, column, onChange) {
    this.#pane = pane;
    this.#onChange = onChange;
    pane.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // Called once a frame at most, after the layout: no layout is forced for a token.
    const observer = new ResizeObserver(() => this.#following && this.#place(pane.scrollHeight));
    observer.observe(column);
    observer.observe(pane);
  }

  // Goes to the end and stays there.
  follow() {
    this.#set(true);
    this.#place(this.#pane.scrollHeight);
  }

  // Shows the column from its top: there is no end to be at.
  rest() {
    this.#set(true);
    this.#following = false;
    this.#place(0);
  }

  // Runs `change`, which adds content above, and leaves what the reader sees where it is.
  keepPlace(change) {
    const below = this.#pane.scrollHeight - this.#pane.scrollTop;
    change();
    this.#place(this.#pane.scrollHeight - below);
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#pane;
    // Only going up is leaving: growth leaves nobody behind.
    if (scrollHeight - scrollTop - clientHeight < CLOSE) this.#set(true);
    else if (scrollTop < this.#last) this.#set(false);
    this.#last = scrollTop;
  }

  #set(following) {
    if (following === this.#following) return;
    this.#following = following;
    this.#onChange(following);
  }

  #place(top) {
    this.#pane.scrollTop = top;
    this.#last = this.#pane.scrollTop;
  }
}

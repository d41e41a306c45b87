// Keeps a growing column at its end, for as long as the reader is there; who scrolls up is left alone.

const CLOSE = 24; // pixels from the end that count as "at the end"

export class Follower {
  #pane;
  #following = true;
  #last = 0;

  // `onChange(isFollowing)` is told when the reader leaves the end or comes back to it.
  constructor(pane, column, onChange) {
    this.#pane = pane;
    const set = (following) => {
      if (following === this.#following) return;
      this.#following = following;
      onChange(following);
    };
    pane.addEventListener("scroll", () => {
      const atEnd = pane.scrollHeight - pane.scrollTop - pane.clientHeight < CLOSE;
      if (atEnd) set(true);
      else if (pane.scrollTop < this.#last) set(false); // only going up is leaving: growth leaves nobody behind
      this.#last = pane.scrollTop;
    }, { passive: true });
    // Called once a frame at most, after the layout: no layout is forced for a token.
    const observer = new ResizeObserver(() => this.#following && this.#toEnd());
    observer.observe(column);
    observer.observe(pane);
    this.follow = () => {
      set(true);
      this.#toEnd();
    };
  }

  // Runs `change`, which adds content above, and leaves what the reader sees where it is.
  keepPlace(change) {
    const below = this.#pane.scrollHeight - this.#pane.scrollTop;
    change();
    this.#pane.scrollTop = this.#pane.scrollHeight - below;
    this.#last = this.#pane.scrollTop;
  }

  #toEnd() {
    this.#pane.scrollTop = this.#pane.scrollHeight;
    this.#last = this.#pane.scrollTop;
  }
}

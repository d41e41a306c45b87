// One WebSocket, as frames to be awaited one after the other.

const OPENING = 5000; // milliseconds: a proxy that knows no WebSockets may just be silent
const SILENCE = 20000; // milliseconds without a frame after which a line is taken for dead, if frames are expected

export class Socket {
  expecting = false; // something is live: a silence says that the line is dead, which a browser may not notice for hours
  opened; // a promise of whether it opens
  code = null; // why the server closed it: 4000 and an HTTP status; else the line was lost
  #line;
  #frames = [];
  #news = () => {};
  #lastHeard = performance.now();

  constructor(url, signal) {
    const line = (this.#line = new WebSocket(url));
    const opening = setTimeout(() => line.close(), OPENING);
    const watching = setInterval(() => this.expecting && this.closeIfSilent(SILENCE), SILENCE / 4);
    const leave = () => this.#hangUp();
    signal.addEventListener("abort", leave);
    this.opened = new Promise((resolve) => {
      line.addEventListener("open", () => {
        clearTimeout(opening);
        this.#lastHeard = performance.now();
        resolve(true);
      });
      line.addEventListener("close", ({ code }) => {
        clearTimeout(opening);
        clearInterval(watching);
        signal.removeEventListener("abort", leave);
        this.code ??= code;
        resolve(false);
        this.#news();
      });
    });
    line.addEventListener("message", ({ data }) => {
      this.#lastHeard = performance.now();
      this.#frames.push(data);
      this.#news();
    });
  }

  closeIfSilent(milliseconds) {
    if (performance.now() - this.#lastHeard >= milliseconds) this.close();
  }

  // Nobody waits for the other end: a dead line does not answer to this either.
  close() {
    this.code ??= 1006;
    this.#hangUp();
    this.#news();
  }

  // A browser complains aloud of a line that is closed before it is open.
  #hangUp() {
    if (this.#line.readyState === WebSocket.CONNECTING) this.#line.addEventListener("open", () => this.#line.close());
    else this.#line.close();
  }

  // Yields the frames, parsed, until it is closed.
  async *frames() {
    for (;;) {
      const frames = this.#frames;
      this.#frames = [];
      for (const frame of frames) yield JSON.parse(frame);
      if (this.#frames.length) continue; // came while those were taken
      if (this.code !== null) return;
      await new Promise((resolve) => (this.#news = resolve));
    }
  }
}

// The chunks of one turn, to its end, over as many connections as it takes.

const PAUSES = [300, 1000, 2000, 4000, 8000]; // milliseconds before each try to come back

// The connection was lost and did not come back.
export class Lost extends Error {
  constructor() {
    super("The connection was lost. The answer goes on without you.");
  }
}

// Yields chunks. `resume(cursor)` opens the stream after the cursor, or from its start where there is none yet;
// it gives null where nothing is left to read. Returns whether the stream was read to its end.
export async function* chunks(response, resume, signal) {
  let cursor = null;
  let failures = 0;

  async function comeBack() {
    while (failures < PAUSES.length) {
      await pause(PAUSES[failures++], signal);
      try {
        return await resume(cursor);
      } catch (error) {
        if (signal.aborted || !error.isPassing) throw error;
      }
    }
    throw new Lost();
  }

  while (response) {
    try {
      for await (const event of events(response.body)) {
        if (event.data === "[DONE]") return true;
        if (event.id) cursor = event.id;
        failures = 0;
        yield JSON.parse(event.data);
      }
    } catch (error) {
      if (signal.aborted || !(error instanceof TypeError)) throw error; // a TypeError is the network's
    }
    response = await comeBack();
  }
  return false;
}

// Server-sent events, as far as our server uses them: `id:` and one `data:` line; comments are skipped.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = {};
        for (const line of block.split("\n")) {
          if (line.startsWith("id:")) event.id = line.slice(3).trim();
          else if (line.startsWith("data:")) event.data = line.slice(5).trim();
        }
        if (event.data) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // the reader may have failed already
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

// Server-sent events, as far as our server uses them: `id:` and one `data:` line; comments are skipped.

// Yields {id, data} until the body ends. Returns true where the server said that the stream is whole, false where the
// connection was lost before that.
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return false;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = {};
        for (const line of block.split("\n")) {
          if (line.startsWith("id:")) event.id = line.slice(3).trim();
          else if (line.startsWith("data:")) event.data = line.slice(5).trim();
        }
        if (event.data === "[DONE]") return true;
        if (event.data) yield event;
      }
    }
  } catch (error) {
    if (error instanceof TypeError) return false; // the network's
    throw error;
  } finally {
    reader.cancel().catch(() => {}); // the reader may have failed already
  }
}

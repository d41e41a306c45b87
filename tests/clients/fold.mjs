// The judge: four versions of the AI SDK's client, fed with the bytes of a stream as a server sends them.
//
// Reads one JSON object a line, {stream, parts?}, and writes one a line, by client:
//   {parts, metadata, errors, history}
// stream: the text of an SSE response. parts, metadata: of the message that `readUIMessageStream` ends with,
// after the client's own transport has parsed and validated it. errors: what it reported on the way.
// history: null when the client's `safeValidateUIMessages` takes `parts` as a stored message, or the reason.
import { createInterface } from "node:readline";

const VERSIONS = ["ai-5", "ai-6-strict", "ai-6", "ai-7"];
const clients = await Promise.all(
  VERSIONS.map(async (name) => ({ name, ai: await import(name) })),
);

async function fold(ai, stream) {
  const errors = [];
  const note = (error) => errors.push(String(error?.message ?? error));
  let message = { parts: [] };
  try {
    const transport = new ai.DefaultChatTransport({
      api: "http://oracle.invalid/api/chat",
      fetch: async () => new Response(stream, { headers: { "content-type": "text/event-stream" } }),
    });
    const chunks = await transport.sendMessages({
      chatId: "chat",
      messages: [],
      trigger: "submit-message",
      messageId: undefined,
      abortSignal: undefined,
    });
    for await (const state of ai.readUIMessageStream({ stream: chunks, onError: note })) message = state;
  } catch (error) {
    note(error);
  }
  return { id: message.id, parts: message.parts, metadata: message.metadata ?? null, errors };
}

async function history(ai, parts) {
  if (!parts?.length || !ai.safeValidateUIMessages) return null;
  const result = await ai.safeValidateUIMessages({ messages: [{ id: "1", role: "assistant", parts }] });
  return result.success ? null : String(result.error?.message ?? result.error).slice(0, 2000);
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const { stream, parts } = JSON.parse(line);
  const answer = {};
  for (const { name, ai } of clients) {
    answer[name] = { ...(await fold(ai, stream)), history: await history(ai, parts) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}

// The AI SDK's server with resumable-stream, put together as its guides "Chatbot Message Persistence", "Chatbot Resume
// Streams" and "Handling client disconnects" say, with PostgreSQL as the chat store that they leave to the reader.
import { appendFileSync } from 'node:fs';
import http from 'node:http';
import { convertToModelMessages, generateId, streamText, UI_MESSAGE_STREAM_HEADERS } from 'ai';
import { MockLanguageModelV3 } from 'ai/test';
import pg from 'pg';
import { createResumableStreamContext } from 'resumable-stream';

const pool = new pg.Pool(); // PGHOST, PGDATABASE, …;
await pool.query(
  'CREATE TABLE IF NOT EXISTS chats (id text PRIMARY KEY, messages jsonb NOT NULL, active_stream_id text)',
);
// There is no serverless function that would have to be kept alive.
const streams = createResumableStreamContext({ waitUntil: () => {} });

async function readChat(id) {
  const { rows } = await pool.query('SELECT messages, active_stream_id FROM chats WHERE id = $1', [id]);
  return rows.length ? { messages: rows[0].messages, activeStreamId: rows[0].active_stream_id } : { messages: [] };
}

async function saveChat({ id, messages, activeStreamId }) {
  await (messages === undefined
    ? pool.query('UPDATE chats SET active_stream_id = $2 WHERE id = $1', [id, activeStreamId])
    : pool.query(
        `INSERT INTO chats (id, messages, active_stream_id) VALUES ($1, $2, $3)
         ON CONFLICT (id) DO UPDATE SET messages = EXCLUDED.messages, active_stream_id = EXCLUDED.active_stream_id`,
        [id, JSON.stringify(messages), activeStreamId],
      ));
}

// The agent: what benchmarks/agent.py streams, on the same clock.
const pause = ms => new Promise(resolve => setTimeout(resolve, ms));
const now = () => Number(process.hrtime.bigint()) / 1e6;

async function* parts(text) {
  const [command, count, rate] = text.split(' ');
  appendFileSync(process.env.RUNS, `${text}\n`);
  yield { type: 'stream-start', warnings: [] };
  yield { type: 'text-start', id: 't' };
  if (command === '/idle') {
    yield { type: 'text-delta', id: 't', delta: 'Waiting ' };
    await new Promise(() => {});
  }
  let due = now();
  for (let n = 0; n < Number(count); n++) {
    yield { type: 'text-delta', id: 't', delta: `${process.hrtime.bigint()} ` };
    due += 1000 / Number(rate);
    await pause(Math.max(0, due - now()));
  }
  yield { type: 'text-end', id: 't' };
  const usage = { inputTokens: { total: 1 }, outputTokens: { total: Number(count) } };
  yield { type: 'finish', finishReason: { unified: 'stop', raw: 'stop' }, usage };
}

const textOf = message => message.content.filter(part => part.type === 'text').map(part => part.text).join('');

async function post(request, response) {
  const body = [];
  for await (const piece of request) body.push(piece);
  const { id, messages: sent } = JSON.parse(Buffer.concat(body).toString());
  const chat = await readChat(id);
  const messages = [...chat.messages, sent.at(-1)];
  await saveChat({ id, messages, activeStreamId: null });
  const result = streamText({
    // A model for each call: the mock remembers all its calls.
    model: new MockLanguageModelV3({
      doStream: async ({ prompt }) => ({ stream: ReadableStream.from(parts(textOf(prompt.at(-1)))) }),
    }),
    messages: await convertToModelMessages(messages),
  });
  result.consumeStream();
  result.pipeUIMessageStreamToResponse(response, {
    originalMessages: messages,
    generateMessageId: generateId,
    onFinish: ({ messages }) => saveChat({ id, messages, activeStreamId: null }),
    async consumeSseStream({ stream }) {
      const streamId = generateId();
      await streams.createNewResumableStream(streamId, () => stream);
      await saveChat({ id, activeStreamId: streamId });
    },
  });
}

async function resume(id, response) {
  const { activeStreamId } = await readChat(id);
  const stream = activeStreamId ? await streams.resumeExistingStream(activeStreamId) : null;
  if (!stream) return response.writeHead(204).end();
  response.writeHead(200, UI_MESSAGE_STREAM_HEADERS);
  for await (const piece of stream) response.write(piece);
  response.end();
}

const server = http.createServer(async (request, response) => {
  try {
    const found = request.url.match(/^\/api\/chat\/([^/]+)\/stream$/);
    if (request.url === '/readyz') response.end('ready');
    else if (found) await resume(decodeURIComponent(found[1]), response);
    else await post(request, response);
  } catch (problem) {
    console.error(problem);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  }
});
server.listen({ port: Number(process.env.PORT), host: '127.0.0.1', backlog: 4096 });

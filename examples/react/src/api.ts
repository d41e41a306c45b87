// The few requests that useChat() does not make itself.
import { DefaultChatTransport, type UIMessage } from "ai";

const TOKEN = "durable-chat-token";

/** A bearer token where one was given; without it the browser's session cookie says who asks. */
export const token = {
  read: () => sessionStorage.getItem(TOKEN),
  write: (value: string) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

export function headers(): Record<string, string> {
  const value = token.read();
  return value ? { Authorization: `Bearer ${value}` } : {};
}

/** The transport that useChat() has by itself (POST /api/chat), with the token where there is one. */
export const transport = new DefaultChatTransport<UIMessage>({ headers });

export class NotLoggedIn extends Error {}

async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  const response = await fetch(path, {
    ...init,
    headers: { ...headers(), ...(init.body ? { "Content-Type": "application/json" } : {}) },
  });
  if (response.status === 401) throw new NotLoggedIn();
  const answer = response.status === 204 ? null : await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error.message), { status: response.status });
  return answer;
}

export interface Thread {
  id: string;
  client_id: string | null;
  title: string;
}

/** Whether a conversation of the list is called so: by the server's id, or by the id that this page made for it. The
    latter is good for its owner alone, so what others' threads are opened by is the server's. */
export const isCalled = (thread: Thread, name: string | undefined) => name === thread.id || name === thread.client_id;

/** The newest threads, so many pages of them, and whether there are older ones. */
export async function listThreads(pages: number): Promise<{ threads: Thread[]; older: boolean }> {
  const threads: Thread[] = [];
  let next: string | null = "/api/threads/";
  for (let page = 0; next && page < pages; page++) {
    const told: { results: Thread[]; next: string | null } = await ask(next);
    threads.push(...told.results);
    next = told.next;
  }
  return { threads, older: next !== null };
}

export const renameThread = (id: string, title: string) =>
  ask<Thread>(`/api/threads/${encodeURIComponent(id)}/`, { method: "PATCH", body: JSON.stringify({ title }) });

export const deleteThread = (id: string) =>
  ask<null>(`/api/threads/${encodeURIComponent(id)}/`, { method: "DELETE", body: "{}" });

const SERVERS_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What was said so far, without an answer that is still being written: its stream tells that one. */
export async function readMessages(id: string): Promise<UIMessage[]> {
  try {
    return (await ask<{ messages: UIMessage[] }>(`/api/threads/${encodeURIComponent(id)}/state/`)).messages;
  } catch (problem) {
    // Under a name that this page has made nothing was sent yet; a thread with an id of the server's is gone.
    if ((problem as { status?: number }).status === 404 && !SERVERS_ID.test(id)) return [];
    throw problem;
  }
}

/** Ends the turn on the server. useChat's own stop() only hangs up, and the answer would go on without a reader. */
export const stopTurn = (id: string) =>
  ask<unknown>(`/api/chat/${encodeURIComponent(id)}/stop`, { method: "POST", body: "{}" });

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

/** The id that the conversation is called by here: the one this page made, or the server's. */
export const nameOf = (thread: Thread) => thread.client_id ?? thread.id;

export const listThreads = async () => (await ask<{ results: Thread[] }>("/api/threads/")).results;

export const renameThread = (id: string, title: string) =>
  ask<Thread>(`/api/threads/${encodeURIComponent(id)}/`, { method: "PATCH", body: JSON.stringify({ title }) });

export const deleteThread = (id: string) =>
  ask<null>(`/api/threads/${encodeURIComponent(id)}/`, { method: "DELETE", body: "{}" });

/** What was said so far, without an answer that is still being written: its stream tells that one. */
export async function readMessages(id: string): Promise<UIMessage[]> {
  try {
    return (await ask<{ messages: UIMessage[] }>(`/api/threads/${encodeURIComponent(id)}/state/`)).messages;
  } catch (problem) {
    if ((problem as { status?: number }).status === 404) return []; // nothing was sent yet
    throw problem;
  }
}

/** Ends the turn on the server. useChat's own stop() only hangs up, and the answer would go on without a reader. */
export const stopTurn = (id: string) =>
  ask<unknown>(`/api/chat/${encodeURIComponent(id)}/stop`, { method: "POST", body: "{}" });

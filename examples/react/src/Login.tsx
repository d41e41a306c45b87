import { useState } from "react";

import { token } from "./api";

/** Two ways in: the site's own session, or a bearer token (`manage.py create_token USERNAME`). */
export function Login({ done }: { done: () => void }) {
  const [value, setValue] = useState("");
  const here = encodeURIComponent(location.pathname);
  return (
    <main className="login">
      <h1>Durable chat in React</h1>
      <a className="button" href={`/login/?next=${here}`}>Log in with your account</a>
      <p>or</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          token.write(value.trim());
          done();
        }}
      >
        <label htmlFor="token">Bearer token</label>
        <input id="token" type="password" autoComplete="off" required value={value}
          onChange={(event) => setValue(event.target.value)} />
        <button type="submit">Use the token</button>
      </form>
    </main>
  );
}

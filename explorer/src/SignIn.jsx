import { useState } from 'react';

import { signIn, useToken as showToken } from './session.js';

/** Asks who somebody is, by email and password or by a token. Calls `onSignedIn` when the server knows them. */
export function SignIn({ onSignedIn }) {
  const [problem, setProblem] = useState('');
  const [isBusy, setBusy] = useState(false);

  async function submit(event) {
    event.preventDefault();
    const { email, password, token } = Object.fromEntries(new FormData(event.currentTarget));
    setBusy(true);
    setProblem('');
    try {
      await (token ? showToken(token.trim()) : signIn(email, password));
      onSignedIn();
    } catch (error) {
      setProblem(error.message);
    } finally {
      setBusy(false);
    }
  }

  return (
    <form className="sign-in" onSubmit={submit}>
      <h1>Reliability Studio</h1>
      <label>
        Email <input name="email" type="text" autoComplete="username" autoFocus />
      </label>
      <label>
        Password <input name="password" type="password" autoComplete="current-password" />
      </label>
      <label>
        or a token <input name="token" type="password" autoComplete="off" placeholder="rs_..." />
      </label>
      <button type="submit" disabled={isBusy}>
        Sign in
      </button>
      <p role="alert">{problem}</p>
    </form>
  );
}

// Unsent text, stored in this browser per user and chat. Survives reloads, crashes and sign-outs.
(() => {
  const app = document.getElementById("app");
  if (!app?.dataset.user) return;
  const MAX_AGE = 30 * 24 * 3600e3; // milliseconds
  const PREFIX = "okno.localCopies.";
  const memory = new Map(); // fallback if localStorage is unavailable

  const storageKey = (kind, chat) => `${PREFIX}${app.dataset.user}.${kind}.${chat}`;
  const read = (kind, chat) => {
    const name = storageKey(kind, chat);
    try {
      return JSON.parse(localStorage.getItem(name)) ?? null;
    } catch {
      return memory.get(name) ?? null;
    }
  };
  const write = (kind, chat, value) => {
    const name = storageKey(kind, chat);
    try {
      localStorage.setItem(name, JSON.stringify(value));
    } catch {
      memory.set(name, value);
    }
  };
  const remove = (kind, chat) => {
    const name = storageKey(kind, chat);
    memory.delete(name);
    try { localStorage.removeItem(name); } catch { /* nothing is stored */ }
  };

  // Chats of this user with a stored entry of this kind.
  const chats = (kind) => {
    const prefix = storageKey(kind, "");
    let names = [...memory.keys()];
    try { names = names.concat(Object.keys(localStorage)); } catch { /* not readable */ }
    return names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  };

  const newKey = () =>
    Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  // Remove expired entries of all users.
  try {
    for (const name of Object.keys(localStorage).filter((one) => one.startsWith(PREFIX))) {
      const value = JSON.parse(localStorage.getItem(name));
      const at = Array.isArray(value) ? Math.max(0, ...value.map((one) => one.at)) : value?.at;
      if (!(Date.now() - at < MAX_AGE)) localStorage.removeItem(name);
    }
  } catch { /* not readable: nothing to remove */ }

  window.okno = Object.assign(window.okno || {}, { localCopies: { read, write, remove, chats, storageKey }, newKey });
})();

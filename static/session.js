// User of this page, and requests that survive a new session: a page may be older than the current sign-in.
(() => {
  const app = document.getElementById("app");
  if (!app?.dataset.user) return;
  const COOKIES = ["__Host-csrftoken=", "csrftoken="]; // with https, a cookie without the prefix is a leftover
  const REQUEST_TIMEOUT = 60_000; // milliseconds
  const user = app.dataset.user;
  const byId = (id) => document.getElementById(id);
  let renewedToken = ""; // token from the server, for browsers without the cookie

  const token = () => {
    const found = document.cookie.split("; ");
    const tokens = COOKIES.map((name) => found.find((one) => one.startsWith(name))?.slice(name.length));
    return tokens.find(Boolean) || renewedToken || document.querySelector("[name=csrfmiddlewaretoken]").value;
  };

  // Another user signed in: hide this page and send nothing from it.
  const lockPage = (sentence) => {
    if (isLocked()) return;
    dispatchEvent(new Event("okno:locked")); // typed text is stored in its author's local copy
    byId("main").inert = true;
    for (const field of byId("main").querySelectorAll("textarea, input")) field.value = "";
    document.title = "Okno";
    byId("other-user").querySelector("p").textContent = sentence;
    byId("other-user").hidden = false;
    byId("other-user").querySelector("button").focus();
  };
  const isLocked = () => byId("main").inert;

  // Renew the CSRF token after a 403: it may belong to an earlier sign-in. Returns whether the request may be repeated.
  const renewToken = async () => {
    try {
      const answer = await fetch(app.dataset.sessionUrl, { headers: { "HX-Request": "true" } });
      if (!answer.ok || answer.redirected) return false;
      renewedToken = (await answer.json()).token;
      return true;
    } catch {
      return false;
    }
  };

  // Parse a 409 response, and lock the page if another user has signed in.
  const handleConflict = (text) => {
    let response = {};
    try { response = JSON.parse(text); } catch { /* not JSON: nothing to handle */ }
    if (response.reason === "other_user") lockPage(response.sentence);
    return response;
  };

  // POST as the user of this page, in the chat of the text. After a refused CSRF token, renew it and repeat the request
  // once; a refused request has no effect.
  const postAsUser = async (address, values, { signal = AbortSignal.timeout(REQUEST_TIMEOUT) } = {}) => {
    const body = new URLSearchParams(values);
    body.set("for_user", user);
    if (!body.has("for_chat") && byId("chat")?.dataset.chat) body.set("for_chat", byId("chat").dataset.chat);
    for (let isRepeated = false; ; isRepeated = true) {
      body.set("csrfmiddlewaretoken", token());
      const answer = await fetch(address, { method: "POST", body, signal, headers: { "HX-Request": "true" } });
      if (answer.status === 403 && !isRepeated && (await renewToken())) continue;
      if (answer.status === 409) handleConflict(await answer.clone().text());
      return answer;
    }
  };

  // Forms that htmx or the browser submits.
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.verb === "post") event.detail.parameters.csrfmiddlewaretoken = token();
  });
  document.addEventListener("submit", (event) => {
    const field = event.target.elements?.csrfmiddlewaretoken;
    if (field) field.value = token();
  }, true);
  const repeated = new WeakSet();
  document.addEventListener("htmx:afterRequest", async (event) => {
    const { xhr, elt, requestConfig } = event.detail;
    if (requestConfig.verb !== "post") return;
    if (xhr.status === 409) handleConflict(xhr.responseText);
    if (xhr.status !== 403) { repeated.delete(elt); return; }
    if (repeated.has(elt)) return;
    repeated.add(elt);
    event.stopImmediatePropagation(); // other handlers run only if it fails again
    if (await renewToken()) elt.requestSubmit(requestConfig.triggeringEvent?.submitter);
    else dispatchEvent(new CustomEvent("okno:action-refused", { detail: { sentence: byId("composer")?.dataset.failed || "" } }));
  });

  document.addEventListener("click", (event) => { if (event.target.closest("[data-reload]")) location.reload(); });

  window.okno = Object.assign(window.okno || {}, { user, token, renewToken, postAsUser, isLocked, handleConflict });
})();

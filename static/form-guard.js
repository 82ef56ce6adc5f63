// Forms that the browser submits: posted once, and only if the server answers, so that no connection and no ended session
// takes what was typed. Listens on the window, after scripts that submit forms themselves.
(() => {
  const app = document.getElementById("app"), words = document.getElementById("form-guard");
  if (!app?.dataset.sessionUrl || !words) return;
  const BUTTONS = ".form-end, .form-actions, .account-actions, .tp-acts, .bulk"; // the note follows them
  const CHECK_TIMEOUT = 20_000, BUSY_DELAY = 500, BUSY_TIME = 60_000; // milliseconds
  const login = document.querySelector("#offline [data-session-ended] a")?.pathname;
  const checked = new WeakSet(); // forms whose submission goes on

  // Return why the form cannot be submitted now, or nothing.
  const findProblem = async () => {
    try {
      const answer = await fetch(app.dataset.sessionUrl, { headers: { "HX-Request": "true" }, cache: "no-store", signal: AbortSignal.timeout(CHECK_TIMEOUT) });
      if (answer.redirected && new URL(answer.url).pathname === login) {
        dispatchEvent(new Event("okno:signed-out"));
        return words.dataset.signedOut;
      }
      return answer.ok ? "" : words.dataset.failed; // a page that the user must complete first answers, too
    } catch {
      return words.dataset.failed;
    }
  };
  const show = (form, sentence, { isProblem = false } = {}) => {
    let note = form.querySelector("[data-form-note]");
    if (!note && sentence) {
      note = words.content.firstElementChild.cloneNode(true);
      (form.querySelector(BUTTONS) || form.lastElementChild).after(note);
    }
    if (!note) return;
    note.querySelector("span").textContent = sentence;
    note.classList.toggle("bad", isProblem);
    note.hidden = !sentence;
    if (isProblem) note.scrollIntoView({ block: "nearest" });
  };
  const release = (form) => {
    delete form.dataset.busy;
    show(form, "");
  };

  addEventListener("submit", async (event) => {
    const form = event.target, { submitter } = event;
    if (event.defaultPrevented || !form.closest("#main") || form.getAttribute("method") !== "post") return;
    if (checked.delete(form)) return;
    event.preventDefault();
    if ("busy" in form.dataset) return;
    form.dataset.busy = "";
    show(form, "");
    const delay = setTimeout(() => show(form, words.dataset.sending), BUSY_DELAY);
    const problem = await findProblem();
    if (problem || !form.isConnected) {
      clearTimeout(delay);
      release(form);
      show(form, problem, { isProblem: true });
      return;
    }
    checked.add(form);
    form.requestSubmit(submitter);
    // The page stays if the response is a file, or if the browser finds the form invalid.
    if (checked.delete(form) || "downloads" in form.dataset) { clearTimeout(delay); release(form); }
    else setTimeout(() => release(form), BUSY_TIME);
  });
  addEventListener("pageshow", () => document.querySelectorAll("form[data-busy]").forEach(release));
})();
